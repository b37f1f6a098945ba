/// Text as a source of a language model: its bytes or characters become tokens.
#pragma once

#include "base/result.h"
#include "data/settings.h"
#include "model/preprocessing.h"
#include "model/recipe.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace muster::data {

/// The vocabulary of a unit, as Preprocessing of one token input and the next token as target.
///   byte       the 256 values, named 0x00 to 0xff, whatever the text holds
///   character  the code points of the training text in their order, then U+FFFD for all others
/// Errors: those of read_bytes; invalid_argument, naming the byte, for what is not UTF-8 (unit character), and for a
/// text of fewer than two tokens; resource_exhausted over settings.characters_max.
[[nodiscard]] Result<Preprocessing>
learn_text(const std::filesystem::path& path, const RecipeText& text, const Settings& settings);

/// Cuts text into tokens, piece by piece. One thread at a time.
class Tokenizer {
public:
    /// `source` names the file in errors.
    Tokenizer(const Preprocessing& preprocessing, TextUnit unit, std::string source);

    /// Replaces `tokens` by those of the next piece; a character that it ends within comes with the piece after.
    /// Errors: invalid_argument, naming the byte, for what is not UTF-8.
    [[nodiscard]] Result<void> cut(std::string_view piece, std::vector<float>& tokens);
    /// Errors: invalid_argument, when the text ended within a character.
    [[nodiscard]] Result<void> finish() const;

private:
    TextUnit unit_;
    std::string source_;
    std::unordered_map<std::uint32_t, float> numbers_{};
    float unknown_{};
    std::string rest_{}; ///< the first bytes of a character
    std::int64_t offset_{0};
};

} // namespace muster::data
