#include "producer/recipes.h"

#include "wire/recipe.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <system_error>
#include <vector>

namespace muster::producer {
namespace {

constexpr auto recipe_kind = "recipe";
constexpr auto by_name_prefix = "muster:";

/// A recipe can be trained only where its archive can be had.
Result<void> check_archive(const Recipe& recipe, const Artefacts& artefacts) {
    if (!recipe.model.archive) {
        return {};
    }
    const ModelArchive& archive = *recipe.model.archive;
    const auto path = artefacts.path_of(archive.sha256);
    if (!path) {
        return Error{ErrorCode::invalid_argument,
                     fmt::format("the archive {} is not here; `muster recipe add FILE` uploads it",
                                 archive.sha256.substr(0, 12)),
                     "/model/archive/sha256"};
    }
    std::error_code code;
    const auto bytes = std::filesystem::file_size(*path, code);
    if (code || static_cast<std::int64_t>(bytes) != archive.bytes) {
        return Error{ErrorCode::invalid_argument,
                     fmt::format("the archive {} has another size", archive.sha256.substr(0, 12)),
                     "/model/archive/bytes"};
    }
    return {};
}

} // namespace

Result<void> Recipes::load() {
    const std::scoped_lock lock{mutex_};
    by_name_.clear();
    for (const Record& record : store_.list(recipe_kind)) {
        const auto body = nlohmann::json::parse(record.body, nullptr, false);
        if (body.is_discarded() || !body.contains("recipe")) {
            return Error{ErrorCode::unavailable, "the stored recipe \"" + record.key + "\" cannot be read"};
        }
        auto recipe = wire::recipe_from_json(body["recipe"]);
        if (!recipe) {
            Error error = std::move(recipe).error().within("the stored recipe \"" + record.key + "\"");
            error.code = ErrorCode::unavailable;
            return error;
        }
        by_name_.insert_or_assign(record.key,
                                  Entry{*std::move(recipe), body.value("added_by", ""), body.value("time", "")});
    }
    return {};
}

Result<nlohmann::json> Recipes::add(const nlohmann::json& body, const std::string& caller) {
    const bool wrapped = body.is_object() && body.contains("recipe") && body["recipe"].is_object();
    const bool replace = wrapped && body.contains("replace") && body["replace"] == true;
    auto recipe = wire::recipe_from_json(wrapped ? body["recipe"] : body);
    if (!recipe) {
        return std::move(recipe).error();
    }
    if (auto held = check_archive(*recipe, artefacts_); !held) {
        return std::move(held).error();
    }
    const nlohmann::json answer{{"name", recipe->name}, {"digest", recipe->digest}};
    const std::scoped_lock lock{mutex_};
    if (const auto known = by_name_.find(recipe->name); known != by_name_.end()) {
        if (known->second.recipe.digest == recipe->digest) {
            return answer;
        }
        if (!replace) {
            return Error{ErrorCode::conflict,
                         fmt::format("the recipe \"{}\" exists with another content (digest {}); say replace to make "
                                     "this its new version",
                                     recipe->name,
                                     known->second.recipe.digest.substr(0, 12)),
                         "/name"};
        }
    }
    Entry entry{*recipe, caller, rfc3339(clock_.wall_now())};
    const nlohmann::json record{{"recipe", wire::to_json(*recipe)},
                                {"digest", recipe->digest},
                                {"added_by", entry.added_by},
                                {"time", entry.time}};
    const Write write{.kind = recipe_kind, .key = recipe->name, .body = record.dump()};
    if (auto done = store_.commit(std::span{&write, 1}); !done) {
        return std::move(done).error();
    }
    by_name_.insert_or_assign(recipe->name, std::move(entry));
    return answer;
}

nlohmann::json Recipes::list() const {
    const std::scoped_lock lock{mutex_};
    nlohmann::json all = nlohmann::json::array();
    for (const auto& [name, entry] : by_name_) {
        all.push_back({{"name", name},
                       {"digest", entry.recipe.digest},
                       {"inference", entry.recipe.inference},
                       {"model", wire::model_kind(entry.recipe)},
                       {"recipe", wire::to_json(entry.recipe)},
                       {"added_by", entry.added_by},
                       {"time", entry.time}});
    }
    return all;
}

Result<Recipe> Recipes::resolve(const std::string& inference) const {
    constexpr auto where = "/attributes/aIMLInferenceName";
    const std::scoped_lock lock{mutex_};
    std::vector<std::string> known;
    std::vector<std::string> matching;
    for (const auto& [name, entry] : by_name_) {
        if (inference == by_name_prefix + name) {
            return entry.recipe;
        }
        known.push_back(entry.recipe.inference);
        known.push_back(by_name_prefix + name);
        if (entry.recipe.inference == inference) {
            matching.push_back(name);
        }
    }
    if (matching.size() == 1) {
        return by_name_.at(matching.front()).recipe;
    }
    if (matching.empty()) {
        std::ranges::sort(known);
        const auto repeated = std::ranges::unique(known);
        known.erase(repeated.begin(), repeated.end());
        Error error = not_allowed(where, inference, known);
        error.message =
            fmt::format("no recipe trains \"{}\"{}", inference, known.empty() ? "; no recipe was added yet" : "");
        return error;
    }
    std::vector<std::string> names;
    for (const std::string& name : matching) {
        names.push_back(by_name_prefix + name);
    }
    return Error{ErrorCode::invalid_argument,
                 fmt::format("{} recipes train \"{}\": name one of them", names.size(), inference),
                 where,
                 names};
}

} // namespace muster::producer
