#include "data/prepare.h"

#include "base/digest.h"
#include "data/digest_index.h"
#include "data/encode.h"
#include "data/learn.h"
#include "data/matrix_file.h"
#include "data/source.h"
#include "wire/preprocessing.h"
#include "wire/recipe.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>

namespace muster::data {

namespace {

constexpr int format_version = 1; // raise it when the same input gives another matrix

/// The sources as they were when their digests were found.
struct Sources {
    FileStamp train_stamp;
    std::optional<FileStamp> test_stamp;
    std::string train_digest;
    std::string test_digest; ///< empty: no test source
};

std::int64_t now_ns() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch())
        .count();
}

/// Errors: not_found; resource_exhausted, before anything large is read.
Result<FileStamp> source_stamp(const std::filesystem::path& path, const Settings& settings) {
    auto stamp = stamp_of(path);
    if (stamp && stamp->bytes > settings.source_bytes_max) {
        return Error{ErrorCode::resource_exhausted,
                     fmt::format("the file has {} bytes; the limit is {}", stamp->bytes, settings.source_bytes_max),
                     path.string()};
    }
    return stamp;
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

std::string key_of(const Recipe& recipe, const Sources& sources) {
    auto exclude = recipe.data.exclude;
    auto categorical = recipe.data.categorical;
    std::ranges::sort(exclude);
    std::ranges::sort(categorical);
    const nlohmann::json what{{"format", format_version},
                              {"train", sources.train_digest},
                              {"test", sources.test_digest},
                              {"target", recipe.data.target},
                              {"exclude", exclude},
                              {"categorical", categorical},
                              {"task", static_cast<int>(task_of(recipe))}};
    return sha256_hex(what.dump());
}

/// Finds what names the content of the sources.
Result<Sources> identify(const DataRequest& request, const Settings& settings, DigestIndex& index) {
    auto train_stamp = source_stamp(request.train, settings);
    if (!train_stamp) {
        return std::move(train_stamp).error();
    }
    auto train_digest = digest_of(request.train, *train_stamp, index);
    if (!train_digest) {
        return std::move(train_digest).error();
    }
    Sources sources{.train_stamp = *train_stamp, .test_stamp = {}, .train_digest = *train_digest, .test_digest = {}};
    if (request.test) {
        auto test_stamp = source_stamp(*request.test, settings);
        if (!test_stamp) {
            return std::move(test_stamp).error();
        }
        auto test_digest = digest_of(*request.test, *test_stamp, index);
        if (!test_digest) {
            return std::move(test_digest).error();
        }
        sources.test_stamp = *test_stamp;
        sources.test_digest = *test_digest;
    }
    return sources;
}

Result<void> check_unchanged(const std::filesystem::path& path, const FileStamp& before) {
    const auto after = stamp_of(path);
    if (!after || *after != before) {
        return Error{ErrorCode::unavailable, "the file changed while it was read; try again", path.string()};
    }
    return {};
}

Result<Preprocessing> learn(const DataRequest& request, const UsedColumns& columns, const Settings& settings) {
    Learner learner{columns, request.recipe, settings, request.train.string()};
    auto read = read_rows(request.train, columns.all(), settings, [&](const TextBlock& block) -> Result<void> {
        learner.take(block);
        return {};
    });
    if (!read) {
        return std::move(read).error();
    }
    auto learned = learner.finish();
    if (learned && learned->encoded_columns() > settings.matrix_bytes_max / 4 / learner.rows()) {
        return Error{ErrorCode::resource_exhausted,
                     fmt::format("{} rows of {} encoded columns exceed the limit of {} bytes",
                                 learner.rows(),
                                 learned->encoded_columns(),
                                 settings.matrix_bytes_max),
                     request.train.string()};
    }
    return learned;
}

/// One encoded source.
struct Encoded {
    std::int64_t rows{};
    std::string features_digest;
    std::string target_digest;
};

Result<Encoded> encode(const std::filesystem::path& source,
                       const UsedColumns& columns,
                       const Preprocessing& preprocessing,
                       const std::filesystem::path& prefix,
                       const Settings& settings) {
    auto features = MatrixFile::create(prefix.string() + ".features");
    if (!features) {
        return std::move(features).error();
    }
    auto target = MatrixFile::create(prefix.string() + ".target");
    if (!target) {
        return std::move(target).error();
    }
    Encoder encoder{preprocessing, source.string()};
    const std::int64_t rows_max = settings.matrix_bytes_max / 4 / preprocessing.encoded_columns();
    Encoded encoded;
    auto read = read_rows(source, columns.all(), settings, [&](const TextBlock& block) -> Result<void> {
        encoded.rows += block.rows;
        if (encoded.rows > rows_max) {
            return Error{ErrorCode::resource_exhausted,
                         fmt::format("the encoded rows exceed the limit of {} bytes", settings.matrix_bytes_max),
                         source.string()};
        }
        if (auto done = encoder.encode(block); !done) {
            return done;
        }
        if (auto done = features->append(encoder.features()); !done) {
            return done;
        }
        return target->append(encoder.target());
    });
    if (!read) {
        return std::move(read).error();
    }
    if (encoded.rows == 0) {
        return Error{ErrorCode::invalid_argument, "there is a header but not one row", source.string()};
    }
    for (auto [file, digest] :
         {std::pair{&*features, &encoded.features_digest}, std::pair{&*target, &encoded.target_digest}}) {
        auto finished = file->finish();
        if (!finished) {
            return std::move(finished).error();
        }
        *digest = std::move(*finished);
    }
    return encoded;
}

/// Errors: not_found-like refusal naming the column that the test source lacks.
Result<void>
check_test_header(const std::filesystem::path& test, const UsedColumns& columns, const Settings& settings) {
    const auto header = read_header(test, settings);
    if (!header) {
        return header.error();
    }
    for (const auto& name : columns.all()) {
        if (std::ranges::find(*header, name) == header->end()) {
            Error error = not_allowed(test.string(), name, *header);
            error.message = fmt::format("the test source has no column '{}', which training uses", name);
            return error;
        }
    }
    return {};
}

Result<Published>
make(const DataRequest& request, const Cache& cache, const Sources& sources, const Settings& settings) {
    const auto started = std::chrono::steady_clock::now();
    const auto header = read_header(request.train, settings);
    if (!header) {
        return header.error();
    }
    const auto columns = used_columns(request.recipe.data, *header);
    if (!columns) {
        return columns.error();
    }
    if (request.test) {
        if (auto checked = check_test_header(*request.test, *columns, settings); !checked) {
            return std::move(checked).error();
        }
    }
    const auto preprocessing = learn(request, *columns, settings);
    if (!preprocessing) {
        return preprocessing.error();
    }
    const auto folder = cache.begin();
    if (!folder) {
        return folder.error();
    }
    const auto train = encode(request.train, *columns, *preprocessing, *folder / "train", settings);
    if (!train) {
        return train.error();
    }
    MatrixInfo info{.rows = train->rows, .columns = preprocessing->encoded_columns()};
    std::string parts = fmt::format("{}\n{}\n", train->features_digest, train->target_digest);
    if (request.test) {
        const auto test = encode(*request.test, *columns, *preprocessing, *folder / "test", settings);
        if (!test) {
            return test.error();
        }
        info.test_rows = test->rows;
        parts += fmt::format("{}\n{}\n", test->features_digest, test->target_digest);
        if (auto same = check_unchanged(*request.test, *sources.test_stamp); !same) {
            return std::move(same).error();
        }
    }
    if (auto same = check_unchanged(request.train, sources.train_stamp); !same) {
        return std::move(same).error();
    }
    info.digest = sha256_hex(parts + wire::to_json(*preprocessing).dump());
    auto published = cache.publish(*folder, key_of(request.recipe, sources), info, *preprocessing);
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
    const auto key = key_of(request.recipe, *sources);
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
