#include "data/encoding.h"

#include "data/encode.h"
#include "data/matrix_file.h"
#include "data/source.h"
#include "data/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>

namespace muster::data {
namespace {

Result<Preprocessing> learn_table(const std::filesystem::path& train,
                                  const Recipe& recipe,
                                  const UsedColumns& columns,
                                  const Settings& settings) {
    Learner learner{columns, recipe, settings, train.string()};
    auto read = read_rows(train, columns.all(), settings, [&](const TextBlock& block) -> Result<void> {
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
                     train.string()};
    }
    return learned;
}

/// The two files of one source.
struct MatrixFiles {
    MatrixFile features;
    MatrixFile target;

    static Result<MatrixFiles> create(const std::filesystem::path& prefix) {
        auto features = MatrixFile::create(prefix.string() + ".features");
        if (!features) {
            return std::move(features).error();
        }
        auto target = MatrixFile::create(prefix.string() + ".target");
        if (!target) {
            return std::move(target).error();
        }
        return MatrixFiles{std::move(*features), std::move(*target)};
    }

    Result<Encoded> finish(std::int64_t rows) {
        auto features_digest = features.finish();
        if (!features_digest) {
            return std::move(features_digest).error();
        }
        auto target_digest = target.finish();
        if (!target_digest) {
            return std::move(target_digest).error();
        }
        return Encoded{rows, std::move(*features_digest), std::move(*target_digest)};
    }
};

Error too_many_rows(const std::filesystem::path& source, const Settings& settings) {
    return {ErrorCode::resource_exhausted,
            fmt::format("the encoded rows exceed the limit of {} bytes", settings.matrix_bytes_max),
            source.string()};
}

Result<Encoded> encode_table(const std::filesystem::path& source,
                             const UsedColumns& columns,
                             const Preprocessing& preprocessing,
                             const std::filesystem::path& prefix,
                             const Settings& settings) {
    auto files = MatrixFiles::create(prefix);
    if (!files) {
        return std::move(files).error();
    }
    Encoder encoder{preprocessing, source.string()};
    const std::int64_t rows_max = settings.matrix_bytes_max / 4 / preprocessing.encoded_columns();
    std::int64_t rows = 0;
    auto read = read_rows(source, columns.all(), settings, [&](const TextBlock& block) -> Result<void> {
        rows += block.rows;
        if (rows > rows_max) {
            return too_many_rows(source, settings);
        }
        if (auto done = encoder.encode(block); !done) {
            return done;
        }
        if (auto done = files->features.append(encoder.features()); !done) {
            return done;
        }
        return files->target.append(encoder.target());
    });
    if (!read) {
        return std::move(read).error();
    }
    if (rows == 0) {
        return Error{ErrorCode::invalid_argument, "there is a header but not one row", source.string()};
    }
    return files->finish(rows);
}

/// Every token but the last is a row, the one after it its target.
Result<Encoded> encode_text(const std::filesystem::path& source,
                            const RecipeText& text,
                            const Preprocessing& preprocessing,
                            const std::filesystem::path& prefix,
                            const Settings& settings) {
    auto files = MatrixFiles::create(prefix);
    if (!files) {
        return std::move(files).error();
    }
    Tokenizer tokenizer{preprocessing, text.unit, source.string()};
    std::vector<float> tokens;
    std::optional<float> last;
    std::int64_t rows = 0;
    auto read = read_bytes(source, settings, [&](std::string_view piece) -> Result<void> {
        auto cut = tokenizer.cut(piece, tokens);
        if (!cut || tokens.empty()) {
            return cut;
        }
        if (last) {
            tokens.insert(tokens.begin(), *last);
        }
        last = tokens.back();
        const std::span<const float> all{tokens};
        rows += std::ssize(all) - 1;
        if (rows > settings.matrix_bytes_max / 4) {
            return too_many_rows(source, settings);
        }
        if (auto done = files->features.append(all.first(all.size() - 1)); !done) {
            return done;
        }
        return files->target.append(all.subspan(1));
    });
    if (read) {
        read = tokenizer.finish();
    }
    if (!read) {
        return std::move(read).error();
    }
    if (rows == 0) {
        return Error{ErrorCode::invalid_argument, "the text has fewer than two tokens", source.string()};
    }
    return files->finish(rows);
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

} // namespace

Result<Encoding> Encoding::learn(const std::filesystem::path& train,
                                 const std::optional<std::filesystem::path>& test,
                                 const Recipe& recipe,
                                 const Settings& settings) {
    Encoding encoding;
    encoding.text_ = recipe.data.text;
    if (encoding.text_) {
        auto learned = learn_text(train, *encoding.text_, settings);
        if (!learned) {
            return std::move(learned).error();
        }
        encoding.preprocessing_ = std::move(*learned);
        return encoding;
    }
    const auto header = read_header(train, settings);
    if (!header) {
        return header.error();
    }
    auto columns = used_columns(recipe.data, *header);
    if (!columns) {
        return std::move(columns).error();
    }
    encoding.columns_ = std::move(*columns);
    if (test) {
        if (auto checked = check_test_header(*test, encoding.columns_, settings); !checked) {
            return std::move(checked).error();
        }
    }
    auto learned = learn_table(train, recipe, encoding.columns_, settings);
    if (!learned) {
        return std::move(learned).error();
    }
    encoding.preprocessing_ = std::move(*learned);
    return encoding;
}

Result<Encoded> Encoding::encode(const std::filesystem::path& source,
                                 const std::filesystem::path& prefix,
                                 const Settings& settings) const {
    return text_ ? encode_text(source, *text_, preprocessing_, prefix, settings)
                 : encode_table(source, columns_, preprocessing_, prefix, settings);
}

} // namespace muster::data
