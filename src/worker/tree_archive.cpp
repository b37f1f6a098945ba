#include "worker/tree_archive.h"

#include "wire/preprocessing.h"
#include "wire/recipe.h"
#include "worker/tree_problem.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <stdexcept>

namespace muster::worker {
namespace {

constexpr std::string_view names_key = "\nfeature_names=";
constexpr std::string_view trailer_key = "\nmuster_model:";

Error wrong(std::string message) {
    return {ErrorCode::invalid_argument, std::move(message)};
}

/// That the model reads the rows that the preprocessing makes.
Result<void> check_parts(const TreeArchive& archive) {
    const Preprocessing& preprocessing = archive.preprocessing;
    const auto most = static_cast<std::size_t>(TreeModelLimits{}.columns_max);
    if (!has_trees(archive.recipe) || preprocessing.inputs.empty() || preprocessing.inputs.size() > most ||
        !std::ranges::all_of(preprocessing.inputs, &InputColumn::raw) ||
        preprocessing.history != archive.recipe.data.history) {
        return wrong("its preprocessing is not one of boosted trees");
    }
    if (preprocessing.encoded_columns() > TreeModelLimits{}.columns_max / std::ssize(rows_of_sample(archive.recipe))) {
        return wrong("its preprocessing makes more columns than any model reads");
    }
    const std::int64_t columns = std::ssize(columns_of_sample(archive.recipe, preprocessing));
    if (columns != archive.model.columns() || preprocessing.outputs() != archive.model.outputs()) {
        return wrong(fmt::format("its trees read {} columns for {} outputs, its preprocessing makes {} for {}",
                                 archive.model.columns(),
                                 archive.model.outputs(),
                                 columns,
                                 preprocessing.outputs()));
    }
    return {};
}

} // namespace

std::string tree_archive(const Recipe& recipe, const Preprocessing& preprocessing, const std::string& text) {
    std::string archive = text;
    const std::size_t names = archive.find(names_key);
    if (names == std::string::npos) {
        throw std::runtime_error{"the text of the trees has no feature_names"};
    }
    const std::size_t begin = names + names_key.size();
    archive.replace(begin,
                    archive.find('\n', begin) - begin,
                    fmt::format("{}", fmt::join(sample_columns(recipe, preprocessing), " ")));
    const nlohmann::json trailer{{"recipe", wire::to_json(recipe)}, {"preprocessing", wire::to_json(preprocessing)}};
    archive += trailer_key;
    archive += trailer.dump();
    archive += '\n';
    return archive;
}

Result<TreeArchive> read_tree_archive(std::string_view text) {
    const std::size_t trailer = text.rfind(trailer_key);
    if (trailer == std::string_view::npos) {
        return wrong("behind its trees is nothing of how rows are made for them (a line \"muster_model:\")");
    }
    auto model = TreeModel::parse(text.substr(0, trailer + 1));
    if (!model) {
        return std::move(model).error();
    }
    const auto json = nlohmann::json::parse(text.substr(trailer + trailer_key.size()), nullptr, false);
    if (!json.is_object() || !json.contains("recipe") || !json.contains("preprocessing")) {
        return wrong("the line \"muster_model:\" has no recipe and preprocessing");
    }
    auto recipe = wire::recipe_from_json(json.at("recipe"));
    auto preprocessing = wire::preprocessing_from_json(json.at("preprocessing"));
    if (!recipe || !preprocessing) {
        return !recipe ? std::move(recipe).error() : std::move(preprocessing).error();
    }
    TreeArchive archive{std::move(*model), std::move(*recipe), std::move(*preprocessing)};
    if (auto checked = check_parts(archive); !checked) {
        return std::move(checked).error();
    }
    return archive;
}

} // namespace muster::worker
