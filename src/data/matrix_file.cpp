#include "data/matrix_file.h"

#include <fcntl.h>

#include <bit>
#include <cerrno>
#include <system_error>

namespace muster::data {

static_assert(std::endian::native == std::endian::little);

namespace {

Error failure(const std::filesystem::path& path) {
    return {ErrorCode::unavailable, "cannot be written: " + std::system_category().message(errno), path.string()};
}

} // namespace

Result<MatrixFile> MatrixFile::create(const std::filesystem::path& path) {
    UniqueFd fd{::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644)};
    if (!fd.valid()) {
        return failure(path);
    }
    return MatrixFile{std::move(fd), path};
}

Result<void> MatrixFile::append(std::span<const float> values) {
    auto bytes = std::as_bytes(values);
    hash_.update(bytes);
    while (!bytes.empty()) {
        const ssize_t written = ::write(fd_.get(), bytes.data(), bytes.size());
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written < 0) {
            return failure(path_);
        }
        bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
    return {};
}

Result<std::string> MatrixFile::finish() {
    if (::fsync(fd_.get()) != 0) {
        return failure(path_);
    }
    fd_.reset();
    return hash_.finish_hex();
}

} // namespace muster::data
