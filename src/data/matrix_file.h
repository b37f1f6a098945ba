/// Files of float32 values that are hashed while they are written.
#pragma once

#include "base/digest.h"
#include "base/fd.h"
#include "base/result.h"
#include "data/settings.h"

#include <cstdint>
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

/// What names the content of a source's files: SHA-256, hex.
struct MatrixDigests {
    std::string features;
    std::string target;
};

/// The two files of one source, `prefix`.features and `prefix`.target. One thread at a time.
class MatrixFiles {
public:
    /// `source` and `columns` say what is refused when it grows too large. Errors: unavailable.
    [[nodiscard]] static Result<MatrixFiles> create(const std::filesystem::path& prefix,
                                                    const std::filesystem::path& source,
                                                    std::int64_t columns,
                                                    const Settings& settings);
    /// Counts rows that are to come. Errors: resource_exhausted.
    [[nodiscard]] Result<void> count(std::int64_t rows);
    /// Errors: unavailable (disk full).
    [[nodiscard]] Result<void> append(std::span<const float> features, std::span<const float> target);
    [[nodiscard]] std::int64_t rows() const { return rows_; }
    [[nodiscard]] const std::filesystem::path& prefix() const { return prefix_; }
    /// Brings both to the disk. Call once. Errors: unavailable.
    [[nodiscard]] Result<MatrixDigests> finish();

private:
    MatrixFiles(MatrixFile features,
                MatrixFile target,
                std::filesystem::path prefix,
                std::filesystem::path source,
                std::int64_t columns,
                std::int64_t bytes_max)
        : features_{std::move(features)}, target_{std::move(target)}, prefix_{std::move(prefix)},
          source_{std::move(source)}, columns_{columns}, bytes_max_{bytes_max} {}

    MatrixFile features_;
    MatrixFile target_;
    std::filesystem::path prefix_;
    std::filesystem::path source_;
    std::int64_t columns_;
    std::int64_t bytes_max_;
    std::int64_t rows_{0};
};

} // namespace muster::data
