/// Requests and responses as values, without HTTP's wire form.
#pragma once

#include "tls/identity.h"

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace muster::rest {

/// One request, read completely.
struct Request {
    std::string method;                                         ///< upper case
    std::string path;                                           ///< still percent-encoded, without the query
    std::map<std::string, std::string, std::less<>> query{};    ///< decoded; a repeated name keeps the last value
    std::vector<std::pair<std::string, std::string>> headers{}; ///< names in lower case
    std::string body{};
    std::optional<tls::Identity> identity{}; ///< none: the peer showed no certificate
    std::string serial{};                    ///< of that certificate, hexadecimal
    std::string peer{};                      ///< "address:port"
    std::string id{};                        ///< X-Request-Id: the client's when it is sane, else ours

    /// Value of a header by its lower-case name, or "".
    [[nodiscard]] std::string_view header(std::string_view name) const {
        for (const auto& [key, value] : headers) {
            if (key == name) {
                return value;
            }
        }
        return {};
    }
};

/// One response. `file`, when set, is sent instead of `body`, whatever its size.
struct Response {
    int status{200};
    std::string content_type{};
    std::string body{};
    std::vector<std::pair<std::string, std::string>> headers{};
    std::optional<std::filesystem::path> file{};
};

} // namespace muster::rest
