/// Blobs as files in a folder: models and their preprocessing, named by their SHA-256.
#pragma once

#include "base/result.h"
#include "port/artefacts.h"

#include <array>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

namespace muster::store {

/// Where the blobs are and what they may use.
struct ArtefactSettings {
    std::filesystem::path folder;           ///< holds blobs/ and partial/; made when it is not there
    std::int64_t blob_bytes_max{4LL << 30}; ///< size of one blob
    std::size_t partial_uploads_max{64};    ///< unfinished uploads at a time
    std::chrono::hours partial_age_max{24}; ///< open() removes unfinished uploads that are older
};

/// Keeps blobs in two folders: blobs/<sha256>, complete and never changed, and partial/<sha256>, still being uploaded.
/// Safe from any thread; calls about the same blob take turns, the others do not wait for each other (mostly).
class FileArtefacts final : public Artefacts {
public:
    /// Errors: unavailable, when the folders cannot be made or read.
    [[nodiscard]] static Result<std::unique_ptr<FileArtefacts>> open(const ArtefactSettings& settings);

    /// Errors, beside those of the port: invalid_argument, when `sha256` is not 64 lower-case hexadecimal digits (as
    /// for all calls); not_found, when there is no `file`; resource_exhausted, when it is too large. A blob that is
    /// there already stays, and `file` is removed.
    Result<void> adopt(const std::filesystem::path& file, const std::string& sha256) override;
    [[nodiscard]] Result<std::filesystem::path> path_of(const std::string& sha256) const override;
    [[nodiscard]] std::int64_t partial_bytes(const std::string& sha256) const override;
    /// Errors: conflict as well when the blob is complete already. A failed write leaves nothing of the upload.
    Result<void> append(const std::string& sha256, std::int64_t offset, std::string_view bytes) override;
    /// Errors: not_found, when there is no upload. Does nothing when the blob is complete already.
    Result<void> finish(const std::string& sha256) override;
    void remove(const std::string& sha256) override;

private:
    explicit FileArtefacts(ArtefactSettings settings) : settings_{std::move(settings)} {}

    [[nodiscard]] std::filesystem::path blob(const std::string& sha256) const;
    [[nodiscard]] std::filesystem::path partial(const std::string& sha256) const;
    [[nodiscard]] std::mutex& turn_of(const std::string& sha256) const;
    [[nodiscard]] Result<void> check_partial_count() const;
    [[nodiscard]] Result<void> publish(const std::filesystem::path& file, const std::string& sha256);
    void remove_old_uploads() const;

    static constexpr std::size_t turns = 16;
    ArtefactSettings settings_;
    mutable std::array<std::mutex, turns> turns_; ///< by blob: I/O under them is their purpose
};

} // namespace muster::store
