/// A file of float32 values that is hashed while it is written.
#pragma once

#include "base/digest.h"
#include "base/fd.h"
#include "base/result.h"

#include <filesystem>
#include <span>
#include <string>

namespace muster::data {

/// Owns a new file. One thread at a time. Little-endian machines only, as the file holds the memory's bytes.
class MatrixFile {
public:
    /// Errors: unavailable, with the system's reason.
    [[nodiscard]] static Result<MatrixFile> create(const std::filesystem::path& path);
    /// Errors: unavailable (disk full).
    [[nodiscard]] Result<void> append(std::span<const float> values);
    /// Brings the file to the disk and returns its SHA-256. Call once. Errors: unavailable.
    [[nodiscard]] Result<std::string> finish();

private:
    MatrixFile(UniqueFd fd, std::filesystem::path path) : fd_{std::move(fd)}, path_{std::move(path)} {}

    UniqueFd fd_;
    std::filesystem::path path_;
    Sha256 hash_;
};

} // namespace muster::data
