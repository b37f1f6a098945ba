/// Files named by their SHA-256: models and their preprocessing.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <filesystem>
#include <string>

namespace muster {

/// Keeps blobs. Safe from any thread. A blob is written to a temporary name, fsynced and renamed.
class Artefacts {
public:
    virtual ~Artefacts() = default;
    /// Takes over `file` (moves it) as the blob `sha256`. Errors: invalid_argument, when the content has another
    /// digest; unavailable (disk full).
    virtual Result<void> adopt(const std::filesystem::path& file, const std::string& sha256) = 0;
    /// Path of a blob for reading. Errors: not_found.
    [[nodiscard]] virtual Result<std::filesystem::path> path_of(const std::string& sha256) const = 0;
    /// Bytes of an unfinished upload, to resume it; 0 when there is none.
    [[nodiscard]] virtual std::int64_t partial_bytes(const std::string& sha256) const = 0;
    /// Appends to an unfinished upload at `offset`, which must equal partial_bytes. Errors: conflict;
    /// resource_exhausted; unavailable (disk full: nothing is left).
    virtual Result<void> append(const std::string& sha256, std::int64_t offset, std::string_view bytes) = 0;
    /// Checks the digest of a complete upload and publishes it. Errors: invalid_argument (the upload is dropped).
    virtual Result<void> finish(const std::string& sha256) = 0;
    virtual void remove(const std::string& sha256) = 0;
};

} // namespace muster
