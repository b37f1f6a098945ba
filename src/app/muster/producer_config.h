/// producer.yaml: the producer's settings (docs/operating.md).
#pragma once

#include "app/muster/credential_files.h"
#include "base/result.h"
#include "producer/settings.h"
#include "rest/server.h"

#include <filesystem>
#include <optional>
#include <string>

namespace muster::app {

/// Certificate and key of the CA that signs functions; without it there is no enrolment and no renewal.
struct EnrolmentAuthority {
    std::filesystem::path certificate;
    std::filesystem::path key;
    std::chrono::seconds certificate_lifetime{std::chrono::hours{24 * 30}};
};

/// Everything in the file, checked.
struct ProducerConfig {
    rest::ServerSettings server;
    std::filesystem::path state; ///< store, artefacts, job CA, audit log
    CredentialFiles credentials;
    std::optional<EnrolmentAuthority> enrolment{};
    std::filesystem::path policy;
    std::uint64_t blob_bytes_max{16ULL << 30U};
    std::int64_t program_bytes_max{1LL << 30U}; ///< of an archive that a user brings
    producer::Settings settings;
};

/// Errors: not_found; invalid_argument with file:line:column, allowed values and nearest match.
[[nodiscard]] Result<ProducerConfig> read_producer_config(const std::filesystem::path& file);

} // namespace muster::app
