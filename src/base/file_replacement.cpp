#include "base/file_replacement.h"

#include "base/id.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <cerrno>
#include <system_error>

namespace muster {
namespace {

Error cannot_write(const std::filesystem::path& path) {
    const int reason = errno;
    return {ErrorCode::unavailable,
            fmt::format("cannot write {}: {}", path.string(), std::system_category().message(reason))};
}

} // namespace

Result<FileReplacement> FileReplacement::open(const std::filesystem::path& path, unsigned mode) {
    const std::string temporary = path.string() + "." + random_hex(6) + ".tmp";
    UniqueFd file{::open(temporary.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode)};
    if (!file.valid()) {
        return cannot_write(path);
    }
    return FileReplacement{path, temporary, std::move(file)};
}

FileReplacement::~FileReplacement() {
    if (!temporary_.empty()) {
        ::unlink(temporary_.c_str());
    }
}

FileReplacement::FileReplacement(FileReplacement&& other) noexcept
    : path_{std::move(other.path_)}, temporary_{std::exchange(other.temporary_, {})}, file_{std::move(other.file_)} {}

Result<void> FileReplacement::commit() {
    if (::fsync(file_.get()) != 0 || ::rename(temporary_.c_str(), path_.c_str()) != 0) {
        return cannot_write(path_);
    }
    temporary_.clear();
    const std::filesystem::path folder = path_.has_parent_path() ? path_.parent_path() : ".";
    const UniqueFd directory{::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (!directory.valid() || ::fsync(directory.get()) != 0) {
        return cannot_write(folder);
    }
    return {};
}

} // namespace muster
