#include "data/text.h"

#include "data/bytes.h"

#include <fmt/format.h>

#include <optional>
#include <set>

namespace muster::data {
namespace {

constexpr std::uint32_t replacement = 0xfffd;

/// A code point and the bytes it took; none: the text ends before it does.
struct Character {
    std::uint32_t code{};
    std::size_t bytes{};
};

/// Length of the UTF-8 sequence that `first` begins; 0: none begins so.
std::size_t sequence_bytes(unsigned char first) {
    if (first < 0x80) {
        return 1;
    }
    if (first >= 0xc2 && first < 0xe0) {
        return 2;
    }
    if (first >= 0xe0 && first < 0xf0) {
        return 3;
    }
    return first >= 0xf0 && first < 0xf5 ? 4 : 0;
}

/// Decodes the first character of `text` (not empty) after RFC 3629. Bytes 0: it is not UTF-8.
std::optional<Character> first_character(std::string_view text) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const std::size_t bytes = sequence_bytes(byte(0));
    if (bytes == 0) {
        return Character{};
    }
    std::uint32_t code = bytes == 1 ? byte(0) : byte(0) & (0x7fU >> bytes);
    for (std::size_t i = 1; i < bytes; ++i) {
        if (i == text.size()) {
            return std::nullopt;
        }
        if ((byte(i) & 0xc0U) != 0x80U) {
            return Character{};
        }
        code = code << 6U | (byte(i) & 0x3fU);
    }
    const bool too_long = (bytes == 3 && code < 0x800) || (bytes == 4 && code < 0x10000);
    const bool surrogate = code >= 0xd800 && code < 0xe000;
    return too_long || surrogate || code > 0x10ffff ? Character{} : Character{code, bytes};
}

std::string utf8_of(std::uint32_t code) {
    const auto tail = [&](unsigned shift) { return static_cast<char>(0x80U | (code >> shift & 0x3fU)); };
    if (code < 0x80) {
        return {static_cast<char>(code)};
    }
    if (code < 0x800) {
        return {static_cast<char>(0xc0U | code >> 6U), tail(0)};
    }
    if (code < 0x10000) {
        return {static_cast<char>(0xe0U | code >> 12U), tail(6), tail(0)};
    }
    return {static_cast<char>(0xf0U | code >> 18U), tail(12), tail(6), tail(0)};
}

Error not_utf8(const std::string& source, std::int64_t offset) {
    return {ErrorCode::invalid_argument,
            "the text is not UTF-8; convert the file, e.g. iconv -f latin1 -t utf-8, or read it by bytes "
            "(data.text.unit: byte)",
            fmt::format("{}: byte {}", source, offset + 1)};
}

/// Calls `each` with the code point of every character of `rest` + `piece`; what is left of the last one stays in
/// `rest`. `offset` counts the bytes that were used up.
template <typename Each>
Result<void> for_each_character(
    std::string& rest, std::string_view piece, std::int64_t& offset, const std::string& source, const Each& each) {
    std::string joined;
    std::string_view text = piece;
    if (!rest.empty()) {
        joined = rest + std::string{piece};
        text = joined;
    }
    while (!text.empty()) {
        const auto character = first_character(text);
        if (!character) {
            break;
        }
        if (character->bytes == 0) {
            return not_utf8(source, offset);
        }
        each(character->code);
        text.remove_prefix(character->bytes);
        offset += static_cast<std::int64_t>(character->bytes);
    }
    rest = std::string{text};
    return {};
}

Preprocessing of_vocabulary(std::vector<std::string> vocabulary, TextUnit unit) {
    Preprocessing preprocessing;
    preprocessing.inputs.push_back({.name = "text", .kind = ColumnKind::token, .categories = vocabulary});
    preprocessing.target = {
        .name = text_target(unit), .kind = ColumnKind::category, .categories = std::move(vocabulary)};
    return preprocessing;
}

std::vector<std::string> byte_names() {
    std::vector<std::string> names;
    for (int value = 0; value < 256; ++value) {
        names.push_back(fmt::format("0x{:02x}", value));
    }
    return names;
}

} // namespace

Result<Preprocessing> learn_text(const std::filesystem::path& path, const RecipeText& text, const Settings& settings) {
    std::set<std::uint32_t> seen;
    std::int64_t tokens = 0;
    std::string rest;
    std::int64_t offset = 0;
    auto read = read_bytes(path, settings, [&](std::string_view piece) -> Result<void> {
        if (text.unit == TextUnit::byte) {
            tokens += std::ssize(piece);
            return {};
        }
        auto cut = for_each_character(rest, piece, offset, path.string(), [&](std::uint32_t code) {
            seen.insert(code);
            ++tokens;
        });
        if (cut && seen.size() > settings.characters_max) {
            return Error{ErrorCode::resource_exhausted,
                         fmt::format("more than {} different characters; data.text.unit: byte has 256 tokens",
                                     settings.characters_max),
                         path.string()};
        }
        return cut;
    });
    if (!read) {
        return std::move(read).error();
    }
    if (!rest.empty()) {
        return not_utf8(path.string(), offset);
    }
    if (tokens < 2) {
        return Error{ErrorCode::invalid_argument, "the text has fewer than two tokens", path.string()};
    }
    if (text.unit == TextUnit::byte) {
        return of_vocabulary(byte_names(), text.unit);
    }
    seen.erase(replacement);
    std::vector<std::string> vocabulary;
    for (const std::uint32_t code : seen) {
        vocabulary.push_back(utf8_of(code));
    }
    vocabulary.push_back(utf8_of(replacement));
    return of_vocabulary(std::move(vocabulary), text.unit);
}

Tokenizer::Tokenizer(const Preprocessing& preprocessing, TextUnit unit, std::string source)
    : unit_{unit}, source_{std::move(source)} {
    const auto& vocabulary = preprocessing.inputs.at(0).categories;
    unknown_ = static_cast<float>(vocabulary.size() - 1);
    for (std::size_t i = 0; unit == TextUnit::character && i < vocabulary.size(); ++i) {
        const auto character = first_character(vocabulary[i]);
        numbers_[character ? character->code : replacement] = static_cast<float>(i);
    }
}

Result<void> Tokenizer::cut(std::string_view piece, std::vector<float>& tokens) {
    tokens.clear();
    if (unit_ == TextUnit::byte) {
        for (const char byte : piece) {
            tokens.push_back(static_cast<float>(static_cast<unsigned char>(byte)));
        }
        return {};
    }
    return for_each_character(rest_, piece, offset_, source_, [&](std::uint32_t code) {
        const auto found = numbers_.find(code);
        tokens.push_back(found == numbers_.end() ? unknown_ : found->second);
    });
}

Result<void> Tokenizer::finish() const {
    return rest_.empty() ? Result<void>{} : Result<void>{not_utf8(source_, offset_)};
}

} // namespace muster::data
