#include "data/prepare.h"

#include "base/digest.h"
#include "base/source_files.h"
#include "data/digest_index.h"
#include "data/encoding.h"
#include "wire/preprocessing.h"
#include "wire/recipe.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>

namespace muster::data {

namespace {

constexpr int format_version = 4; // raise it when the same input gives another matrix

/// The files of a source as they were when their digest was found.
struct SourceState {
    std::vector<std::filesystem::path> files{};
    std::vector<FileStamp> stamps{};
    std::string digest{}; ///< of the file, or of the digests of the files of a folder; empty: no source
};

struct Sources {
    SourceState train;
    SourceState test;
};

std::int64_t now_ns() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch())
        .count();
}

/// Which files a source has and how they are now. Errors: those of source_files; resource_exhausted, before anything
/// large is read.
Result<SourceState> state_of(const std::filesystem::path& source, const Settings& settings) {
    auto files = source_files(source);
    if (!files) {
        return std::move(files).error();
    }
    SourceState state{.files = std::move(*files)};
    std::int64_t bytes = 0;
    for (const auto& file : state.files) {
        auto stamp = stamp_of(file);
        if (!stamp) {
            return std::move(stamp).error();
        }
        bytes += stamp->bytes;
        state.stamps.push_back(*stamp);
    }
    if (bytes > settings.source_bytes_max) {
        return Error{ErrorCode::resource_exhausted,
                     fmt::format("the source has {} bytes; the limit is {}", bytes, settings.source_bytes_max),
                     source.string()};
    }
    return state;
}

/// Returns the digest from the index, or hashes the file.
Result<std::string> digest_of(const std::filesystem::path& path, const FileStamp& stamp, DigestIndex& index) {
    if (auto known = index.find(path, stamp)) {
        return *std::move(known);
    }
    auto digest = sha256_file(path);
    if (digest) {
        index.remember(path, stamp, *digest, now_ns());
    }
    return digest;
}

std::string key_of(const DataRequest& request, const Sources& sources) {
    const Recipe& recipe = request.recipe;
    auto exclude = recipe.data.exclude;
    auto categorical = recipe.data.categorical;
    std::ranges::sort(exclude);
    std::ranges::sort(categorical);
    nlohmann::json what{{"format", format_version},
                        {"train", sources.train.digest},
                        {"test", sources.test.digest},
                        {"target", recipe.data.target},
                        {"exclude", exclude},
                        {"categorical", categorical},
                        {"task", static_cast<int>(task_of(recipe))}};
    const RecipeCsv& csv = recipe.data.csv;
    what["csv"] = {csv.delimiter.value_or(0),
                   csv.decimal.value_or(0),
                   static_cast<int>(csv.encoding),
                   csv.header ? static_cast<int>(*csv.header) : -1};
    if (recipe.data.text) {
        what["text"] = static_cast<int>(recipe.data.text->unit);
    }
    if (const auto& windows = recipe.data.windows) {
        what["windows"] = {windows->length, windows->horizon, windows->time, windows->series};
    }
    for (const char* key : {"log", "clip", "categories"}) {
        const auto data = wire::to_json(recipe).at("data");
        if (data.contains(key)) {
            what[key] = data.at(key);
        }
    }
    if (has_trees(recipe)) {
        what["raw"] = true;
    }
    if (recipe.data.history) {
        what["history"] = wire::to_json(recipe).at("data").at("history");
    }
    if (request.preprocessing) {
        what["preprocessing"] = sha256_hex(wire::to_json(*request.preprocessing).dump());
    }
    return sha256_hex(what.dump());
}

/// Finds what names the content of a source.
Result<SourceState> identify(const std::filesystem::path& source, const Settings& settings, DigestIndex& index) {
    auto state = state_of(source, settings);
    if (!state) {
        return state;
    }
    std::string digests;
    for (std::size_t i = 0; i < state->files.size(); ++i) {
        auto digest = digest_of(state->files[i], state->stamps[i], index);
        if (!digest) {
            return std::move(digest).error();
        }
        digests += *digest + "\n";
        state->digest = std::move(*digest);
    }
    if (state->files.front() != source) {
        state->digest = sha256_hex(digests); // of a folder
    }
    return state;
}

Result<Sources> identify(const DataRequest& request, const Settings& settings, DigestIndex& index) {
    auto train = identify(request.train, settings, index);
    if (!train) {
        return std::move(train).error();
    }
    auto test = request.test ? identify(*request.test, settings, index) : Result<SourceState>{SourceState{}};
    if (!test) {
        return std::move(test).error();
    }
    return Sources{std::move(*train), std::move(*test)};
}

Result<void> check_unchanged(const std::filesystem::path& source, const SourceState& before, const Settings& settings) {
    const auto after = state_of(source, settings);
    if (!after || after->files != before.files || after->stamps != before.stamps) {
        return Error{ErrorCode::unavailable, "the source changed while it was read; try again", source.string()};
    }
    return {};
}

/// A model of hours forecasts hours.
Result<void> check_steps(const Encoded& train, const Encoded& test, const std::string& test_source) {
    constexpr double tolerance = 0.01;
    if (std::abs(test.step - train.step) <= tolerance * train.step) {
        return {};
    }
    return Error{ErrorCode::invalid_argument,
                 fmt::format("rows of the test source are {:g} apart in time, those of training {:g}: use sources of "
                             "the same step",
                             test.step,
                             train.step),
                 test_source};
}

Result<Published>
make(const DataRequest& request, const Cache& cache, const Sources& sources, const Settings& settings) {
    const auto started = std::chrono::steady_clock::now();
    const auto encoding =
        request.preprocessing
            ? Encoding::with(*request.preprocessing, request.train, request.test, request.recipe, settings)
            : Encoding::learn(request.train, request.test, request.recipe, settings);
    if (!encoding) {
        return encoding.error();
    }
    const auto folder = cache.begin();
    if (!folder) {
        return folder.error();
    }
    const auto train = encoding->encode(request.train, *folder / "train", settings);
    if (!train) {
        return train.error();
    }
    const Preprocessing& preprocessing = encoding->preprocessing();
    MatrixInfo info{.rows = train->rows, .columns = preprocessing.encoded_columns()};
    std::vector<std::string> files{train->features_digest, train->target_digest};
    if (request.test) {
        const auto test = encoding->encode(*request.test, *folder / "test", settings);
        if (!test) {
            return test.error();
        }
        if (auto alike = check_steps(*train, *test, request.test->string()); !alike) {
            return std::move(alike).error();
        }
        info.test_rows = test->rows;
        files.insert(files.end(), {test->features_digest, test->target_digest});
        if (auto same = check_unchanged(*request.test, sources.test, settings); !same) {
            return std::move(same).error();
        }
    }
    if (auto same = check_unchanged(request.train, sources.train, settings); !same) {
        return std::move(same).error();
    }
    info.digest = wire::matrix_digest(files, preprocessing);
    auto published = cache.publish(*folder, key_of(request, sources), info, preprocessing);
    if (published) {
        published->info.encode_seconds =
            std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
    }
    return published;
}

} // namespace

Result<DataRequest> data_request_from_json(const nlohmann::json& json) {
    const auto wrong = [](const char* where, const char* message) {
        return Error{ErrorCode::invalid_argument, message, where};
    };
    if (!json.is_object() || !json.contains("recipe")) {
        return wrong("/recipe", "a data request is an object with train, test and recipe");
    }
    if (!json.contains("train") || !json.at("train").is_string()) {
        return wrong("/train", "the path of the training source is needed");
    }
    const auto test = json.value("test", nlohmann::json{});
    if (!test.is_null() && !test.is_string()) {
        return wrong("/test", "the path of the test source, or null, is needed");
    }
    auto recipe = wire::recipe_from_json(json.at("recipe"));
    if (!recipe) {
        return std::move(recipe).error();
    }
    DataRequest request{.train = json.at("train").get<std::string>(), .test = {}, .recipe = std::move(*recipe)};
    if (test.is_string()) {
        request.test = test.get<std::string>();
    }
    if (const auto given = json.value("preprocessing", nlohmann::json{}); !given.is_null()) {
        auto preprocessing = wire::preprocessing_from_json(given);
        if (!preprocessing) {
            return std::move(preprocessing).error();
        }
        request.preprocessing = std::move(*preprocessing);
    }
    if (const auto least = json.value("group_rows_min", nlohmann::json{}); !least.is_null()) {
        if (!least.is_number_integer() || least.get<std::int64_t>() < 1) {
            return wrong("/group_rows_min", "the rows that statistics are of at least, a number above 0");
        }
        request.group_rows_min = least.get<std::int64_t>();
    }
    return request;
}

Result<Published> prepare(const DataRequest& request, const std::filesystem::path& folder, const Settings& settings) {
    const auto cache = Cache::open(folder);
    if (!cache) {
        return cache.error();
    }
    DigestIndex index{folder / "sources.json"};
    const auto sources = identify(request, settings, index);
    if (!sources) {
        return sources.error();
    }
    // Without the lock: when two write at once, one forgets what the other learned and hashes again.
    if (auto saved = index.save(); !saved) {
        return std::move(saved).error();
    }
    const auto key = key_of(request, *sources);
    if (auto found = cache->find(key)) {
        return *std::move(found);
    }
    const auto lock = cache->lock(Deadline::after(std::chrono::seconds{settings.lock_wait_seconds}));
    if (!lock) {
        return lock.error();
    }
    if (auto found = cache->find(key)) {
        return *std::move(found); // the writer we waited for made it
    }
    auto made = make(request, *cache, *sources, settings);
    if (made) {
        if (auto evicted = cache->evict(settings.cache_bytes_max, key); !evicted) {
            return std::move(evicted).error();
        }
    }
    return made;
}

} // namespace muster::data
