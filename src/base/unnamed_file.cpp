#include "base/unnamed_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/statvfs.h>

#include <cerrno>
#include <system_error>

namespace muster {
namespace {

/// Reserves blocks behind the end, or where the file system cannot, looks whether there are enough; returns 0 or errno.
int reserve(int file, std::int64_t bytes) {
    int error = 0;
    do {
        error = bytes > 0 && ::fallocate(file, FALLOC_FL_KEEP_SIZE, 0, bytes) != 0 ? errno : 0;
    } while (error == EINTR);
    if (error != EOPNOTSUPP) {
        return error;
    }
    struct statvfs room {};
    if (::fstatvfs(file, &room) != 0) {
        return errno;
    }
    const double free_bytes = static_cast<double>(room.f_bavail) * static_cast<double>(room.f_frsize);
    return free_bytes < static_cast<double>(bytes) ? ENOSPC : 0;
}

} // namespace

Error file_error(int error_number, const std::string& what) {
    const bool full = error_number == ENOSPC || error_number == EDQUOT || error_number == EFBIG;
    return {full ? ErrorCode::resource_exhausted : ErrorCode::unavailable,
            fmt::format("{}: {}", what, std::generic_category().message(error_number))};
}

Result<UniqueFd> open_unnamed(const std::filesystem::path& folder, std::int64_t bytes) {
    // O_EXCL: linkat() cannot give it a name later.
    UniqueFd file{::open(folder.c_str(), O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600)};
    if (!file.valid()) {
        return file_error(errno, fmt::format("a file without a name in {}", folder.string()));
    }
    if (const int error = reserve(file.get(), bytes); error != 0) {
        return file_error(error, fmt::format("room for {} bytes in {}", bytes, folder.string()));
    }
    return file;
}

} // namespace muster
