#include "tls/identity.h"

#include <array>
#include <optional>

namespace muster::tls {
namespace {

constexpr std::string_view scheme = "muster://";

/// RFC 3986 unreserved, and the signs of a DN that a path segment may hold bare: a certificate stays readable.
bool is_bare(char letter) {
    return (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') || (letter >= '0' && letter <= '9') ||
           std::string_view{"-._~=,:@"}.find(letter) != std::string_view::npos;
}

std::string encoded(std::string_view text) {
    constexpr std::string_view digits = "0123456789ABCDEF";
    std::string result;
    result.reserve(text.size());
    for (const char letter : text) {
        if (is_bare(letter)) {
            result += letter;
            continue;
        }
        const auto byte = static_cast<unsigned char>(letter);
        result += {'%', digits[byte >> 4U], digits[byte & 15U]};
    }
    return result;
}

int digit_of(char letter) {
    if (letter >= '0' && letter <= '9') {
        return letter - '0';
    }
    if (letter >= 'A' && letter <= 'F') {
        return letter - 'A' + 10;
    }
    return letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}

/// Nothing, when the text is empty, has a bad escape, or hides a control character: such a name is nobody's.
std::optional<std::string> decoded(std::string_view text) {
    std::string result;
    for (std::size_t i = 0; i < text.size(); ++i) {
        char letter = text[i];
        if (letter == '%') {
            if (i + 2 >= text.size() || digit_of(text[i + 1]) < 0 || digit_of(text[i + 2]) < 0) {
                return std::nullopt;
            }
            letter = static_cast<char>(digit_of(text[i + 1]) * 16 + digit_of(text[i + 2]));
            i += 2;
        } else if (letter == '/' || letter == '?' || letter == '#') {
            return std::nullopt;
        }
        if (static_cast<unsigned char>(letter) < 0x20 || letter == 0x7F) {
            return std::nullopt;
        }
        result += letter;
    }
    return result.empty() ? std::nullopt : std::optional{result};
}

std::string uri_of(std::string_view kind, std::string_view name) {
    return std::string{scheme} + std::string{kind} + "/" + encoded(name);
}

std::optional<Identity> ours(std::string_view san) {
    if (!san.starts_with(scheme)) {
        return std::nullopt;
    }
    san.remove_prefix(scheme.size());
    const std::size_t slash = san.find('/');
    if (slash == std::string_view::npos) {
        return std::nullopt;
    }
    const std::string_view kind = san.substr(0, slash);
    std::string_view rest = san.substr(slash + 1);
    if (kind == "job") {
        const std::size_t end = rest.find('/');
        const auto job = decoded(rest.substr(0, end));
        const auto dn = decoded(end == std::string_view::npos ? "" : rest.substr(end + 1));
        return job && dn ? std::optional{Identity{Role::job, *dn, *job, job_uri(*job, *dn)}} : std::nullopt;
    }
    struct Kind {
        std::string_view word;
        Role role;
    };
    constexpr std::array kinds{
        Kind{"producer", Role::producer}, Kind{"function", Role::function}, Kind{"consumer", Role::consumer}};
    for (const Kind& known : kinds) {
        if (const auto name = decoded(rest); kind == known.word && name) {
            return Identity{known.role, *name, "", uri_of(kind, *name)};
        }
    }
    return std::nullopt;
}

} // namespace

std::string producer_uri(std::string_view dn) {
    return uri_of("producer", dn);
}

std::string function_uri(std::string_view dn) {
    return uri_of("function", dn);
}

std::string consumer_uri(std::string_view name) {
    return uri_of("consumer", name);
}

std::string job_uri(std::string_view job, std::string_view dn) {
    return uri_of("job", job) + "/" + encoded(dn);
}

Identity parse_identity(std::string_view san) {
    if (auto identity = ours(san)) {
        return *identity;
    }
    return Identity{Role::other, "", "", std::string{san}};
}

} // namespace muster::tls
