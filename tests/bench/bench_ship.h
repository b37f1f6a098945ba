/// Shipments of `muster-bench ship`, and the plainest TLS 1.3 sender of `muster-bench tls`.
#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>

namespace muster::bench {

/// Ships so many bytes from one rank's memory into the other's unnamed file in `folder`, over a group on loopback,
/// verified. {"bytes_per_second"}
[[nodiscard]] nlohmann::json time_shipment(std::int64_t bytes, const std::string& folder);

/// SSL_write in one thread, SSL_read into a buffer in another, on loopback; nobody looks at the bytes. They are written
/// to an unnamed file in `folder`, or where that is empty nobody keeps them. {"bytes_per_second"}
[[nodiscard]] nlohmann::json time_bare_tls(std::int64_t bytes, const std::string& folder);

} // namespace muster::bench
