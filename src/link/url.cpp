#include "link/url.h"

#include <fmt/format.h>

#include <charconv>

namespace muster::link {

std::string Url::authority() const {
    const bool is_ipv6 = host.find(':') != std::string::npos;
    return is_ipv6 ? fmt::format("[{}]:{}", host, port) : fmt::format("{}:{}", host, port);
}

namespace {

Error bad_url(std::string_view text, std::string_view why) {
    return {ErrorCode::invalid_argument,
            fmt::format("'{}' is not an HTTPS address: {}; write https://host:port/path", text, why)};
}

} // namespace

Result<Url> parse_url(std::string_view text) {
    std::string_view rest = text;
    if (rest.starts_with("https://")) {
        rest.remove_prefix(8);
    } else if (rest.starts_with("http://")) {
        return bad_url(text, "plain HTTP is not offered");
    } else if (rest.find("://") != std::string_view::npos) {
        return bad_url(text, "unknown scheme");
    }
    Url url;
    if (const auto slash = rest.find_first_of("/?"); slash != std::string_view::npos) {
        url.path = (rest[slash] == '?' ? "/" : "") + std::string{rest.substr(slash)};
        rest = rest.substr(0, slash);
    }
    if (const auto fragment = url.path.find('#'); fragment != std::string::npos) {
        url.path.resize(fragment);
    }
    for (const char c : text) {
        if (static_cast<unsigned char>(c) <= ' ' || c == '\x7f' || c == '@') {
            return bad_url(text, "blanks, control characters and user names are not allowed");
        }
    }
    std::string_view port;
    if (rest.starts_with('[')) {
        const auto end = rest.find(']');
        if (end == std::string_view::npos) {
            return bad_url(text, "']' is missing");
        }
        url.host = rest.substr(1, end - 1);
        port = rest.substr(end + 1);
    } else {
        const auto colon = rest.find(':');
        url.host = rest.substr(0, colon);
        port = colon == std::string_view::npos ? std::string_view{} : rest.substr(colon);
    }
    if (url.host.empty()) {
        return bad_url(text, "the host is missing");
    }
    if (!port.empty()) {
        const char* const end = port.data() + port.size();
        const auto [stop, problem] = std::from_chars(port.data() + 1, end, url.port);
        if (port.front() != ':' || port.size() == 1 || problem != std::errc{} || stop != end || url.port == 0) {
            return bad_url(text, "the port is not a number from 1 to 65535");
        }
    }
    return url;
}

std::string percent_encode(std::string_view text) {
    const auto is_unreserved = [](unsigned char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
               c == '_' || c == '~';
    };
    std::string out;
    for (const char c : text) {
        if (is_unreserved(static_cast<unsigned char>(c))) {
            out.push_back(c);
        } else {
            out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
        }
    }
    return out;
}

Result<std::string> percent_decode(std::string_view text, bool plus_is_space) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t at = 0; at < text.size(); ++at) {
        if (text[at] != '%') {
            out.push_back(plus_is_space && text[at] == '+' ? ' ' : text[at]);
            continue;
        }
        unsigned value = 0;
        const char* const digits = text.data() + at + 1;
        if (at + 2 >= text.size() || std::from_chars(digits, digits + 2, value, 16).ptr != digits + 2 || value == 0) {
            return Error{ErrorCode::invalid_argument, fmt::format("'{}' has a broken percent escape", text)};
        }
        out.push_back(static_cast<char>(value));
        at += 2;
    }
    return out;
}

} // namespace muster::link
