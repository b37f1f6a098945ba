#include "data/encoding.h"

#include "data/bytes.h"
#include "data/encode.h"
#include "data/history.h"
#include "data/learn_table.h"
#include "data/matrix_file.h"
#include "data/source.h"
#include "data/text.h"
#include "data/windows.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <span>

namespace muster::data {
namespace {

Result<Preprocessing> learn_table(const std::filesystem::path& train,
                                  const Recipe& recipe,
                                  const UsedColumns& columns,
                                  const Settings& settings) {
    auto learner = learn_rows(train, recipe, columns, settings);
    if (!learner) {
        return std::move(learner).error();
    }
    auto learned = learner->finish();
    if (learned && learned->encoded_columns() > settings.matrix_bytes_max / 4 / learner->rows()) {
        return Error{ErrorCode::resource_exhausted,
                     fmt::format("{} rows of {} encoded columns exceed the limit of {} bytes",
                                 learner->rows(),
                                 learned->encoded_columns(),
                                 settings.matrix_bytes_max),
                     train.string()};
    }
    return learned;
}

Result<void> write_table(const std::filesystem::path& source,
                         const UsedColumns& columns,
                         const Preprocessing& preprocessing,
                         MatrixFiles& files,
                         const Settings& settings) {
    Encoder encoder{preprocessing, source.string()};
    return read_table(source, columns, settings, [&](const TextBlock& block) -> Result<void> {
        if (auto counted = files.count(block.rows); !counted) {
            return counted;
        }
        auto done = encoder.encode(block);
        return done ? files.append(encoder.features(), encoder.target()) : done;
    });
}

/// Every token but the last is a row, the one after it its target.
Result<void> write_text(const std::filesystem::path& source,
                        const RecipeText& text,
                        const Preprocessing& preprocessing,
                        MatrixFiles& files,
                        const Settings& settings) {
    Tokenizer tokenizer{preprocessing, text.unit, source.string()};
    std::vector<float> tokens;
    std::optional<float> last;
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
        auto counted = files.count(std::ssize(all) - 1);
        return counted ? files.append(all.first(all.size() - 1), all.subspan(1)) : counted;
    });
    return read ? tokenizer.finish() : read;
}

/// Errors: not_found-like refusal naming the column that the test source lacks.
Result<void>
check_test_header(const std::filesystem::path& test, const UsedColumns& columns, const Settings& settings) {
    const auto header = read_header(test, columns.csv, settings);
    if (!header) {
        return header.error();
    }
    std::vector<std::string> names = columns.all();
    if (const auto& history = columns.history) {
        std::ranges::copy_if(std::array{history->group, history->now, history->known_at, history->value},
                             std::back_inserter(names),
                             [](const std::string& name) { return !name.empty(); });
    }
    for (const auto& name : names) {
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
    encoding.windows_ = recipe.data.windows;
    if (encoding.text_) {
        auto learned = learn_text(train, *encoding.text_, settings);
        if (!learned) {
            return std::move(learned).error();
        }
        encoding.preprocessing_ = std::move(*learned);
        return encoding;
    }
    if (auto read = encoding.read_columns(train, test, recipe, settings); !read) {
        return std::move(read).error();
    }
    auto learned = learn_table(train, recipe, encoding.columns_, settings);
    if (!learned) {
        return std::move(learned).error();
    }
    encoding.preprocessing_ = std::move(*learned);
    encoding.preprocessing_.history = recipe.data.history;
    encoding.drop_plain_time();
    return encoding;
}

Result<Encoding> Encoding::with(const Preprocessing& preprocessing,
                                const std::filesystem::path& train,
                                const std::optional<std::filesystem::path>& test,
                                const Recipe& recipe,
                                const Settings& settings) {
    Encoding encoding;
    if (auto read = encoding.read_columns(train, test, recipe, settings); !read) {
        return std::move(read).error();
    }
    std::vector<std::string> wanted;
    std::ranges::transform(preprocessing.inputs, std::back_inserter(wanted), &InputColumn::name);
    const std::vector<std::string> own = encoding.columns_.all_inputs();
    if (!std::ranges::is_permutation(wanted, own) || preprocessing.target.name != encoding.columns_.target) {
        return Error{ErrorCode::invalid_argument,
                     "the columns of the source are not those that all sites have agreed on",
                     train.string()};
    }
    const auto derived = std::ssize(encoding.columns_.derived);
    encoding.columns_.inputs = {wanted.begin(), wanted.end() - derived}; // another site's header has another order
    encoding.columns_.derived = {wanted.end() - derived, wanted.end()};
    encoding.preprocessing_ = preprocessing;
    return encoding;
}

Result<void> Encoding::read_columns(const std::filesystem::path& train,
                                    const std::optional<std::filesystem::path>& test,
                                    const Recipe& recipe,
                                    const Settings& settings) {
    auto columns = columns_of(train, recipe, settings);
    if (!columns) {
        return std::move(columns).error();
    }
    columns_ = std::move(*columns);
    return test ? check_test_header(*test, columns_, settings) : Result<void>{};
}

void Encoding::drop_plain_time() {
    auto& inputs = preprocessing_.inputs;
    const auto time = std::ranges::find(inputs, columns_.time, &InputColumn::name);
    if (!windows_ || time == inputs.end() || time->kind == ColumnKind::date || inputs.size() == 1) {
        return;
    }
    columns_.inputs.erase(columns_.inputs.begin() + (time - inputs.begin()));
    inputs.erase(time);
}

Result<Encoded> Encoding::encode(const std::filesystem::path& source,
                                 const std::filesystem::path& prefix,
                                 const Settings& settings) const {
    auto files = MatrixFiles::create(prefix, source, preprocessing_.encoded_columns(), settings);
    if (!files) {
        return std::move(files).error();
    }
    double step = 0.0;
    auto written = text_      ? write_text(source, *text_, preprocessing_, *files, settings)
                   : windows_ ? write_windows(source, *windows_, columns_, preprocessing_, *files, settings, step)
                              : write_table(source, columns_, preprocessing_, *files, settings);
    if (!written) {
        return std::move(written).error();
    }
    if (files->rows() == 0) {
        return Error{ErrorCode::invalid_argument,
                     text_ ? "the text has fewer than two tokens" : "there is a header but not one row",
                     source.string()};
    }
    auto digests = files->finish();
    if (!digests) {
        return std::move(digests).error();
    }
    return Encoded{files->rows(), std::move(digests->features), std::move(digests->target), step};
}

} // namespace muster::data
