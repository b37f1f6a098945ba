#include "base/file.h"

#include "base/fd.h"
#include "base/id.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <fstream>
#include <system_error>

namespace muster {
namespace {

std::string reason() {
    return std::system_category().message(errno);
}

Result<void> write_all(int fd, std::string_view content) {
    while (!content.empty()) {
        const ssize_t written = ::write(fd, content.data(), content.size());
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written < 0) {
            return Error{ErrorCode::unavailable, reason()};
        }
        content.remove_prefix(static_cast<std::size_t>(written));
    }
    return {};
}

} // namespace

Result<std::string> read_file(const std::filesystem::path& path, std::uintmax_t bytes_max) {
    std::error_code code;
    const auto size = std::filesystem::file_size(path, code);
    if (code) {
        return Error{ErrorCode::not_found, fmt::format("cannot read {}: {}", path.string(), code.message())};
    }
    if (size > bytes_max) {
        return Error{ErrorCode::resource_exhausted,
                     fmt::format("{} holds {} bytes, at most {} are allowed", path.string(), size, bytes_max)};
    }
    std::ifstream file{path, std::ios::binary};
    std::string content(size, '\0');
    if (!file || (size > 0 && !file.read(content.data(), static_cast<std::streamsize>(size)))) {
        return Error{ErrorCode::not_found, fmt::format("cannot read {}", path.string())};
    }
    return content;
}

Result<void> replace_file(const std::filesystem::path& path, std::string_view content, unsigned mode) {
    const std::string temporary = path.string() + "." + random_hex(6) + ".tmp";
    const auto failed = [&](const std::string& why) {
        ::unlink(temporary.c_str());
        return Error{ErrorCode::unavailable, fmt::format("cannot write {}: {}", path.string(), why)};
    };
    const UniqueFd file{::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)};
    if (!file.valid()) {
        return Error{ErrorCode::unavailable, fmt::format("cannot write {}: {}", path.string(), reason())};
    }
    if (auto written = write_all(file.get(), content); !written) {
        return failed(written.error().message);
    }
    if (::fsync(file.get()) != 0 || ::rename(temporary.c_str(), path.c_str()) != 0) {
        return failed(reason());
    }
    const std::string folder = path.has_parent_path() ? path.parent_path().string() : ".";
    const UniqueFd directory{::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (!directory.valid() || ::fsync(directory.get()) != 0) {
        return Error{ErrorCode::unavailable, fmt::format("cannot sync {}: {}", folder, reason())};
    }
    return {};
}

} // namespace muster
