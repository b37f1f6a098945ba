/// Digests of source files, remembered by what the file system says about them, so that a large file is hashed once.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

namespace muster::data {

/// What changes when a file changes.
struct FileStamp {
    std::uint64_t device{};
    std::uint64_t inode{};
    std::int64_t bytes{};
    std::int64_t modified_ns{}; ///< content, since 1970
    std::int64_t changed_ns{};  ///< content or status, since 1970

    bool operator==(const FileStamp&) const = default;
};

/// Errors: not_found.
[[nodiscard]] Result<FileStamp> stamp_of(const std::filesystem::path& path);

/// The file `sources.json` of a cache folder. One thread at a time.
/// Programs may share the file: it is replaced in one step, and what is lost between two writers is hashed again.
class DigestIndex {
public:
    /// Reads the index; one that is absent or damaged counts as empty, as everything in it can be computed again.
    explicit DigestIndex(std::filesystem::path file);

    /// Returns the SHA-256 remembered for a file with exactly this stamp.
    [[nodiscard]] std::optional<std::string> find(const std::filesystem::path& source, const FileStamp& stamp) const;
    /// Remembers a digest, unless the file was touched less than two seconds before `now_ns`: a second write within one
    /// tick of the file system's clock would go unnoticed.
    void remember(const std::filesystem::path& source, const FileStamp& stamp, std::string digest, std::int64_t now_ns);
    /// Writes the index back if something was remembered. Errors: unavailable.
    [[nodiscard]] Result<void> save();

private:
    struct Entry {
        FileStamp stamp;
        std::string digest;
    };
    std::filesystem::path file_;
    std::map<std::string, Entry> entries_;
    bool changed_{};
};

} // namespace muster::data
