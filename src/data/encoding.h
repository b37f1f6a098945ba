/// How the sources of a recipe are understood, as tables or as text, and their files of numbers.
#pragma once

#include "base/result.h"
#include "data/learn.h"
#include "data/settings.h"
#include "model/preprocessing.h"
#include "model/recipe.h"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace muster::data {

/// One encoded source.
struct Encoded {
    std::int64_t rows{};
    std::string features_digest; ///< SHA-256, hex
    std::string target_digest;
    double step{}; ///< of windows ordered by time: the time from one row to the next, usually
};

/// What was learned from a training source, applied to it and to a test source. One thread at a time.
class Encoding {
public:
    /// Errors: those of used_columns, read_rows, Learner::finish and learn_text; invalid_argument, naming the column,
    /// for a test source that lacks one.
    [[nodiscard]] static Result<Encoding> learn(const std::filesystem::path& train,
                                                const std::optional<std::filesystem::path>& test,
                                                const Recipe& recipe,
                                                const Settings& settings);

    /// As it was learned elsewhere too: from this training source and those of other sites, all of tables.
    /// Errors: as above; invalid_argument, for inputs that this source lacks, or has besides.
    [[nodiscard]] static Result<Encoding> with(const Preprocessing& preprocessing,
                                               const std::filesystem::path& train,
                                               const std::optional<std::filesystem::path>& test,
                                               const Recipe& recipe,
                                               const Settings& settings);

    [[nodiscard]] const Preprocessing& preprocessing() const { return preprocessing_; }
    /// Writes `prefix`.features and `prefix`.target (model/preprocessing.h, MatrixInfo).
    /// Errors: those of read_rows, Encoder::encode and Tokenizer; resource_exhausted; unavailable.
    [[nodiscard]] Result<Encoded>
    encode(const std::filesystem::path& source, const std::filesystem::path& prefix, const Settings& settings) const;

private:
    [[nodiscard]] Result<void> read_columns(const std::filesystem::path& train,
                                            const std::optional<std::filesystem::path>& test,
                                            const Recipe& recipe,
                                            const Settings& settings);
    /// A date says where in the day and the week a row is, another number that only counts says nothing.
    void drop_plain_time();

    std::optional<RecipeText> text_{};
    std::optional<RecipeWindows> windows_{};
    UsedColumns columns_{};
    Preprocessing preprocessing_{};
};

} // namespace muster::data
