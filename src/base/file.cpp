#include "base/file.h"

#include "base/file_replacement.h"

#include <fmt/format.h>

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
    auto file = FileReplacement::open(path, mode);
    if (!file) {
        return std::move(file).error();
    }
    if (auto written = write_all(file->fd(), content); !written) {
        return Error{ErrorCode::unavailable,
                     fmt::format("cannot write {}: {}", path.string(), written.error().message)};
    }
    return file->commit();
}

} // namespace muster
