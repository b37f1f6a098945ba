#include "app/muster/recipe_file.h"

#include "app/muster/boxed_worker.h"
#include "app/muster/programs.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/id.h"
#include "function/data_process.h"
#include "wire/document.h"
#include "wire/preprocessing.h"
#include "wire/recipe.h"

#include <fmt/format.h>

#include <future>

namespace muster::app {
namespace {

namespace fs = std::filesystem;

constexpr auto archive_patience = std::chrono::seconds{60};
constexpr auto encode_patience = std::chrono::minutes{10};

Result<ArchiveFacts>
ask(const fs::path& archive, std::vector<std::string> words, const std::vector<std::string>& allow_missing) {
    words.insert(words.begin(), {"check-model", "--model", archive.string()});
    const auto answer = ask_boxed_worker(std::move(words), archive, allow_missing, {}, archive_patience);
    if (!answer) {
        return answer.error();
    }
    try {
        return ArchiveFacts{.parameters = answer->at("parameters").get<std::int64_t>(),
                            .blocks = answer->at("blocks").get<std::int64_t>(),
                            .no_chain = answer->at("no_chain").get<std::string>(),
                            .operators = answer->at("operators").size(),
                            .probed = answer->at("probed").get<bool>()};
    } catch (const nlohmann::json::exception&) { // nlohmann's way to say that a member is missing
        return Error{ErrorCode::unavailable, "muster-worker gave no facts (its answer is malformed)"};
    }
}

/// Puts what the archive is in the place of its name.
Result<void> name_archive(wire::Json& recipe, RecipeFile& file, const std::vector<std::string>& allow_missing) {
    const auto type = recipe.find("number_type");
    std::vector<std::string> words;
    if (type != recipe.end() && type->is_string() && (*type == "fp32" || *type == "fp64")) {
        words = {"--number-type", type->get<std::string>()};
    } else {
        words = {"--number-type", "fp32"};
    }
    const auto digest = sha256_file(*file.archive);
    if (!digest) {
        return Error{ErrorCode::not_found, "cannot read the archive " + file.archive->string(), "/model/torchscript"};
    }
    auto facts = ask(*file.archive, std::move(words), allow_missing);
    if (!facts) {
        return std::move(facts).error();
    }
    file.facts = *facts;
    std::error_code code;
    recipe["model"] = {{"family", "torchscript"},
                       {"archive",
                        {{"sha256", *digest},
                         {"bytes", static_cast<std::int64_t>(fs::file_size(*file.archive, code))},
                         {"blocks", file.facts.blocks}}}};
    return {};
}

/// The matrix that the source is encoded to, without the rows.
Result<Preprocessing> encoded(const Recipe& recipe, const fs::path& data, const fs::path& cache) {
    auto program = sibling("muster-data");
    if (!program) {
        return std::move(program).error();
    }
    const auto process = function::data_process({.program = *program, .cache = cache});
    std::promise<Result<DataProgram::Encoded>> promise;
    process->encode({.recipe = wire::to_json(recipe).dump(), .train = fs::absolute(data), .test = std::nullopt},
                    Deadline::after(encode_patience),
                    [&promise](Result<DataProgram::Encoded> done) { promise.set_value(std::move(done)); });
    auto done = promise.get_future().get();
    if (!done) {
        return std::move(done).error();
    }
    const auto text = read_file(done->folder / "matrix.json");
    const auto json = text ? wire::Json::parse(*text, nullptr, false) : wire::Json{};
    return wire::preprocessing_from_json(json.is_object() ? json.value("preprocessing", wire::Json{}) : json);
}

} // namespace

Result<RecipeFile> read_recipe_file(const fs::path& file, const std::vector<std::string>& allow_missing) {
    auto document = wire::read_document(file);
    if (!document) {
        return std::move(document).error();
    }
    RecipeFile read;
    wire::Json& value = document->value;
    if (value.is_object() && value.contains("model") && value["model"].is_object() &&
        value["model"].contains("torchscript")) {
        const wire::Json& model = value["model"];
        if (model.size() != 1 || !model["torchscript"].is_string()) {
            const auto place = document->places.find("/model/torchscript");
            return Error{ErrorCode::invalid_argument,
                         "a model that you bring is the name of its archive and nothing else: {torchscript: net.pt}",
                         place == document->places.end() ? "/model/torchscript"
                                                         : place->second + ": /model/torchscript"};
        }
        read.archive = file.parent_path() / model["torchscript"].get<std::string>();
        if (auto named = name_archive(value, read, allow_missing); !named) {
            return std::move(named).error().within(file.string());
        }
    }
    auto recipe = wire::recipe_from_json(value, &document->places);
    if (!recipe) {
        return std::move(recipe).error();
    }
    read.recipe = std::move(*recipe);
    return read;
}

Result<void> probe_archive(RecipeFile& file, const fs::path& data, const std::vector<std::string>& allow_missing) {
    if (!file.archive) {
        return {};
    }
    const fs::path cache = fs::temp_directory_path() / ("muster-check-" + random_hex(8));
    auto preprocessing = encoded(file.recipe, data, cache);
    std::error_code ignored;
    fs::remove_all(cache, ignored);
    if (!preprocessing) {
        return std::move(preprocessing).error().within(data.string());
    }
    const auto& text = file.recipe.data.text;
    auto facts = ask(*file.archive,
                     {"--number-type",
                      file.recipe.number_type == NumberType::fp64 ? "fp64" : "fp32",
                      text ? "--tokens" : "--columns",
                      std::to_string(text ? text->sequence : preprocessing->encoded_columns()),
                      "--outputs",
                      std::to_string(preprocessing->outputs())},
                     allow_missing);
    if (!facts) {
        return std::move(facts).error();
    }
    file.facts = std::move(*facts);
    return {};
}

} // namespace muster::app
