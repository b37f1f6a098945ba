/// Rows of text become rows of float32, as model/preprocessing.h says.
#pragma once

#include "base/result.h"
#include "data/source.h"
#include "model/preprocessing.h"

#include <string>
#include <vector>

namespace muster::data {

/// Encodes blocks with what was learned. One thread at a time; `preprocessing` outlives it.
class Encoder {
public:
    /// `source` names the file in errors. With `target_may_miss` a row without a target gets NaN.
    Encoder(const Preprocessing& preprocessing, std::string source, bool target_may_miss = false);

    /// Encodes the rows of a block with the columns inputs..., any others, target.
    ///   features()  float32 [block.rows, encoded_columns], row-major
    ///   target()    float32 [block.rows], raw unit or class index
    /// Both are valid until the next call. Errors: invalid_argument with row and column: text or an infinite value
    /// among numbers, a value beyond float32, a target that is missing or of a class not seen in training.
    [[nodiscard]] Result<void> encode(const TextBlock& block);
    [[nodiscard]] const std::vector<float>& features() const { return features_; }
    [[nodiscard]] const std::vector<float>& target() const { return target_; }

private:
    [[nodiscard]] Result<void> encode_input(const InputColumn& input, const TextColumn& text, std::size_t first);
    [[nodiscard]] Result<void> encode_number(const InputColumn& input, const TextColumn& text, std::size_t first);
    void encode_category(const InputColumn& input, const TextColumn& text, std::size_t first);
    [[nodiscard]] Result<void> encode_date(const InputColumn& input, const TextColumn& text, std::size_t first);
    [[nodiscard]] Result<void> encode_target(const TextColumn& text);
    [[nodiscard]] Error refusal(const std::string& column, std::size_t row, std::string message) const;

    const Preprocessing& preprocessing_;
    std::string source_;
    bool target_may_miss_;
    std::size_t width_;
    std::size_t rows_{};
    std::int64_t first_row_{};
    std::vector<float> features_;
    std::vector<float> target_;
};

} // namespace muster::data
