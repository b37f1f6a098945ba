#include "nrm/dn.h"

#include "base/assert.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

namespace muster::nrm {
namespace {

constexpr std::string_view escaped_characters = ",=+<>#;\\\"";

bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

std::optional<int> hex_digit(char c) {
    if (is_digit(c)) {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return std::nullopt;
}

/// Returns the length of the UTF-8 character at the start of `text`, 0 when it is malformed (RFC 3629: no overlong
/// forms, no surrogates).
std::size_t utf8_length(std::string_view text) {
    const auto at = [text](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
    const auto tail = [at](std::size_t i) { return (at(i) & 0xC0U) == 0x80U; };
    const unsigned first = at(0);
    if (first < 0x80) {
        return 1;
    }
    if (first >= 0xC2 && first <= 0xDF) {
        return tail(1) ? 2 : 0;
    }
    if (first >= 0xE0 && first <= 0xEF) {
        const bool second = first == 0xE0 ? at(1) >= 0xA0 : first != 0xED || at(1) <= 0x9F;
        return second && tail(1) && tail(2) ? 3 : 0;
    }
    if (first >= 0xF0 && first <= 0xF4) {
        const bool second = first == 0xF0 ? at(1) >= 0x90 : first != 0xF4 || at(1) <= 0x8F;
        return second && tail(1) && tail(2) && tail(3) ? 4 : 0;
    }
    return 0;
}

Error bad(std::string message) {
    return Error{ErrorCode::invalid_argument, std::move(message)};
}

/// Text from outside as it may stand in a message: short, and printable.
std::string shown(std::string_view text) {
    constexpr std::size_t shown_max = 60;
    std::string printable{text.substr(0, shown_max)};
    std::ranges::replace_if(
        printable,
        [](char c) { return static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) > 0x7E; },
        '?');
    return text.size() > shown_max ? printable + "..." : printable;
}

Result<Rdn> checked(std::string_view class_name, std::string id, std::string_view component) {
    const auto word = [](char c) { return is_letter(c) || is_digit(c) || c == '_' || c == '-'; };
    if (class_name.empty() || class_name.size() > dn_class_name_bytes_max || !is_letter(class_name.front()) ||
        !std::ranges::all_of(class_name, word)) {
        return bad(fmt::format("\"{}\" does not begin with a class name", shown(component)));
    }
    if (auto good = check_id(id); !good) {
        return std::move(good).error().within(fmt::format("component \"{}\"", shown(component)));
    }
    return Rdn{std::string{class_name}, std::move(id)};
}

/// Splits "Class=rest".
Result<std::pair<std::string_view, std::string_view>> split(std::string_view component) {
    const std::size_t equals = component.find('=');
    if (equals == std::string_view::npos) {
        return bad(fmt::format("\"{}\" is not of the form Class=id", shown(component)));
    }
    return std::pair{component.substr(0, equals), component.substr(equals + 1)};
}

/// Takes the escapes of the comma form away.
Result<std::string> unescaped(std::string_view id, std::string_view component) {
    std::string plain;
    for (std::size_t i = 0; i < id.size(); ++i) {
        if (id[i] != '\\') {
            if (escaped_characters.find(id[i]) != std::string_view::npos) {
                return bad(fmt::format("component \"{}\": '{}' in an id needs a backslash", shown(component), id[i]));
            }
            plain += id[i];
            continue;
        }
        if (i + 1 == id.size() || escaped_characters.find(id[i + 1]) == std::string_view::npos) {
            return bad(fmt::format(
                "component \"{}\": a backslash must stand before one of {}", shown(component), escaped_characters));
        }
        plain += id[++i];
    }
    return plain;
}

Result<std::string> percent_decoded(std::string_view id, std::string_view component) {
    std::string plain;
    for (std::size_t i = 0; i < id.size(); ++i) {
        if (id[i] != '%') {
            plain += id[i];
            continue;
        }
        const auto high = i + 2 < id.size() ? hex_digit(id[i + 1]) : std::nullopt;
        const auto low = i + 2 < id.size() ? hex_digit(id[i + 2]) : std::nullopt;
        if (!high || !low) {
            return bad(fmt::format("component \"{}\": '%' must stand before two hexadecimal digits", shown(component)));
        }
        plain += static_cast<char>(*high * 16 + *low);
        i += 2;
    }
    return plain;
}

/// Cuts `text` at each `separator` that no backslash stands before.
std::vector<std::string_view> cut(std::string_view text, char separator, bool escapes) {
    std::vector<std::string_view> parts;
    std::size_t begin = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (escapes && text[i] == '\\') {
            ++i;
        } else if (text[i] == separator) {
            parts.push_back(text.substr(begin, i - begin));
            begin = i + 1;
        }
    }
    parts.push_back(text.substr(begin));
    return parts;
}

template <typename Decode>
Result<std::vector<Rdn>> components_of(const std::vector<std::string_view>& parts, Decode decode) {
    if (parts.size() > dn_depth_max) {
        return bad(fmt::format("a name has at most {} components, this one has {}", dn_depth_max, parts.size()));
    }
    std::vector<Rdn> components;
    for (const std::string_view part : parts) {
        auto halves = split(part);
        if (!halves) {
            return std::move(halves).error();
        }
        auto id = decode(halves->second, part);
        if (!id) {
            return std::move(id).error();
        }
        auto rdn = checked(halves->first, *std::move(id), part);
        if (!rdn) {
            return std::move(rdn).error();
        }
        components.push_back(*std::move(rdn));
    }
    return components;
}

} // namespace

Result<void> check_id(std::string_view id) {
    if (id.empty()) {
        return bad("the id is empty");
    }
    if (id.size() > dn_id_bytes_max) {
        return bad(fmt::format("an id has at most {} bytes, this one has {}", dn_id_bytes_max, id.size()));
    }
    for (std::size_t i = 0; i < id.size();) {
        const std::size_t length = utf8_length(id.substr(i));
        if (length == 0) {
            return bad("the id is not UTF-8");
        }
        if (length == 1 && (static_cast<unsigned char>(id[i]) < 0x20 || id[i] == 0x7F)) {
            return bad("the id contains a control character");
        }
        i += length;
    }
    return {};
}

Result<Dn> Dn::parse(std::string_view text) {
    auto components = components_of(cut(text, ',', true), unescaped);
    if (!components) {
        return std::move(components).error().within("distinguished name");
    }
    return Dn{*std::move(components)};
}

Result<Dn> Dn::from_path(std::string_view path) {
    if (path.starts_with('/')) {
        path.remove_prefix(1);
    }
    auto components = components_of(cut(path, '/', false), percent_decoded);
    if (!components) {
        return std::move(components).error().within("path");
    }
    return Dn{*std::move(components)};
}

std::string Dn::text() const {
    std::string text;
    for (const Rdn& rdn : components_) {
        text += text.empty() ? "" : ",";
        text += rdn.class_name + "=";
        for (const char c : rdn.id) {
            if (escaped_characters.find(c) != std::string_view::npos) {
                text += '\\';
            }
            text += c;
        }
    }
    return text;
}

std::string Dn::path() const {
    std::string path;
    for (const Rdn& rdn : components_) {
        path += path.empty() ? "" : "/";
        path += rdn.class_name + "=";
        for (const char c : rdn.id) {
            // RFC 3986: unreserved characters stand for themselves.
            if (is_letter(c) || is_digit(c) || c == '-' || c == '.' || c == '_' || c == '~') {
                path += c;
            } else {
                path += fmt::format("%{:02X}", static_cast<unsigned char>(c));
            }
        }
    }
    return path;
}

Dn Dn::child(std::string class_name, std::string id) const {
    MUSTER_ASSERT(checked(class_name, id, class_name).ok());
    std::vector<Rdn> components = components_;
    components.push_back({std::move(class_name), std::move(id)});
    return Dn{std::move(components)};
}

Dn Dn::parent() const {
    MUSTER_ASSERT(depth() > 1);
    return Dn{std::vector<Rdn>{components_.begin(), components_.end() - 1}};
}

bool Dn::within(const Dn& other) const {
    return depth() >= other.depth() &&
           std::equal(other.components_.begin(), other.components_.end(), components_.begin());
}

std::string short_name(const std::string& dn) {
    const std::string key = "ManagedElement=";
    const auto element = dn.find(key);
    if (element == std::string::npos) {
        return dn.substr(dn.rfind(',') + 1);
    }
    const auto start = element + key.size();
    return dn.substr(start, dn.find(',', start) - start);
}

} // namespace muster::nrm
