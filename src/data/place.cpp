#include "data/place.h"

#include <fmt/format.h>

namespace muster::data {

std::string place_in(const std::string& source, std::int64_t row, const std::string& column) {
    return row > 0 ? fmt::format("{}: row {}, column {}", source, row, column)
                   : fmt::format("{}: column {}", source, column);
}

std::string excerpt(std::string_view text) {
    constexpr std::size_t shown_max = 40;
    if (text.size() <= shown_max) {
        return fmt::format("\"{}\"", text);
    }
    // Never cut a UTF-8 character in two.
    std::size_t end = shown_max;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) {
        --end;
    }
    return fmt::format("\"{}...\"", text.substr(0, end));
}

} // namespace muster::data
