/// A blocking HTTPS client with deadlines, for the command line, enrolment, uploads and notifications.
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "tls/context.h"
#include "tls/identity.h"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace muster::link {

/// Header fields in order; names compare without regard to case.
using Headers = std::vector<std::pair<std::string, std::string>>;

/// What the server's certificate must say, beyond chaining to the trusted CA.
enum class PeerCheck {
    producer, ///< SAN URI muster://producer/...
    host      ///< DNS or IP SAN equal to the host that was dialled
};

/// Where to, and how much to accept.
struct HttpsSettings {
    std::string host;
    std::uint16_t port{443};
    PeerCheck peer{PeerCheck::producer};
    std::size_t answer_bytes_max{16U << 20U}; ///< of a body kept in memory
};

/// One response.
struct Answer {
    int status{0};
    Headers headers{};
    std::string body{};

    /// Value of the first header of that name, or "".
    [[nodiscard]] std::string header(std::string_view name) const;
};

/// One keep-alive connection, opened when first needed and again when it broke. One thread at a time.
/// Errors of every call: unavailable, with cause and remedy (cannot be found, refused, closed); unauthenticated, when
/// TLS fails or the peer is not who it should be; deadline_exceeded; resource_exhausted, when the answer is too large.
/// A request on a reused connection that broke before an answer is sent once more, unless it is a POST or PATCH.
class HttpsClient {
public:
    HttpsClient(HttpsSettings settings, tls::Context context);
    ~HttpsClient();
    HttpsClient(HttpsClient&&) noexcept;
    HttpsClient& operator=(HttpsClient&&) noexcept;

    /// Sends a request and waits for the whole answer. `path` starts with '/', percent-encoded.
    [[nodiscard]] Result<Answer> request(
        std::string_view method, const std::string& path, const Headers& headers, std::string body, Deadline deadline);
    /// GETs `path`; the body of a 200 is written to `file` (replaced), of anything else returned in the answer.
    /// Errors: also unavailable, when the file cannot be written; nothing is left then.
    [[nodiscard]] Result<Answer> download(const std::string& path,
                                          const Headers& headers,
                                          const std::filesystem::path& file,
                                          std::uint64_t bytes_max,
                                          Deadline deadline);
    /// Identity of the server, once a connection was made.
    [[nodiscard]] const std::optional<tls::Identity>& server() const;
    /// Ends the connection; the next request opens another.
    void close();

private:
    class Connection;
    std::unique_ptr<Connection> connection_;
};

} // namespace muster::link
