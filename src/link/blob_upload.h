/// Uploads a file in parts that survive a broken connection; downloads one at once.
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "link/https_client.h"

#include <filesystem>
#include <functional>
#include <string>

namespace muster::link {

/// Header of the blob routes: how many bytes of an unfinished upload the producer holds.
inline constexpr const char* offset_header = "Muster-Offset";

/// Path of a blob on the producer's port.
[[nodiscard]] std::string blob_path(const std::string& sha256);

/// Uploads `file` as blob `sha256`: HEAD says what is there, PUT with Content-Range appends. `connect` makes a client
/// for each attempt; attempts are repeated until the deadline. Repeats are harmless.
/// Errors: not_found (the file); permission_denied, unauthenticated, invalid_argument (as answered);
/// deadline_exceeded with the last reason.
[[nodiscard]] Result<void> upload_blob(const std::function<HttpsClient()>& connect,
                                       const std::filesystem::path& file,
                                       const std::string& sha256,
                                       std::size_t chunk_bytes,
                                       Deadline deadline);

/// Downloads blob `sha256` into `file` (replaced). Errors: not_found, permission_denied, unauthenticated (as answered);
/// those of HttpsClient::download.
[[nodiscard]] Result<void> download_blob(HttpsClient client,
                                         const std::string& sha256,
                                         const std::filesystem::path& file,
                                         std::int64_t bytes_max,
                                         Deadline deadline);

} // namespace muster::link
