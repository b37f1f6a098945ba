/// https://host:port/path, taken apart.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace muster::link {

/// An HTTPS address. IPv6 hosts are kept without brackets.
struct Url {
    std::string host;
    std::uint16_t port{443};
    std::string path{"/"}; ///< with query

    /// "host:port", with brackets around IPv6; for logs and the Host header.
    [[nodiscard]] std::string authority() const;
};

/// Parses "https://host[:port][/path]" or "host:port". Errors: invalid_argument; plain http is refused by name.
[[nodiscard]] Result<Url> parse_url(std::string_view text);

/// One segment of a path or a query's value: all but RFC 3986's unreserved characters is escaped.
[[nodiscard]] std::string percent_encode(std::string_view text);
/// Percent-decodes; with `plus_is_space` as in a query. Errors: invalid_argument, for a broken %XX or a NUL.
[[nodiscard]] Result<std::string> percent_decode(std::string_view text, bool plus_is_space);

} // namespace muster::link
