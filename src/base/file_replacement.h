/// FileReplacement: a file that takes the place of another one when it is complete.
#pragma once

#include "base/fd.h"
#include "base/result.h"

#include <filesystem>
#include <string>

namespace muster {

/// A file that is written under a temporary name beside its path. Without commit() nothing of it is left, and what had
/// the name before stays. One owner.
class FileReplacement {
public:
    /// `mode` are the permission bits. Errors: unavailable, with the system's reason (no permission, no such folder).
    [[nodiscard]] static Result<FileReplacement> open(const std::filesystem::path& path, unsigned mode = 0644);
    ~FileReplacement();
    FileReplacement(FileReplacement&& other) noexcept;
    FileReplacement& operator=(FileReplacement&&) = delete;

    /// Of the file, for reading and writing.
    [[nodiscard]] int fd() const { return file_.get(); }
    /// Where it stands until commit().
    [[nodiscard]] const std::filesystem::path& temporary() const { return temporary_; }
    /// Syncs the file, gives it its name in one step and syncs the folder: a reader sees the old content or the new,
    /// never a part. Once. Errors: unavailable, with the system's reason (disk full).
    [[nodiscard]] Result<void> commit();

private:
    FileReplacement(std::filesystem::path path, std::filesystem::path temporary, UniqueFd file)
        : path_{std::move(path)}, temporary_{std::move(temporary)}, file_{std::move(file)} {}

    std::filesystem::path path_;
    std::filesystem::path temporary_; ///< empty: nothing to remove
    UniqueFd file_;
};

} // namespace muster
