#include "data/matrix_file.h"

#include <fcntl.h>
#include <fmt/format.h>

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

Result<MatrixFiles> MatrixFiles::create(const std::filesystem::path& prefix,
                                        const std::filesystem::path& source,
                                        std::int64_t columns,
                                        const Settings& settings) {
    auto features = MatrixFile::create(prefix.string() + ".features");
    if (!features) {
        return std::move(features).error();
    }
    auto target = MatrixFile::create(prefix.string() + ".target");
    if (!target) {
        return std::move(target).error();
    }
    return MatrixFiles{std::move(*features), std::move(*target), prefix, source, columns, settings.matrix_bytes_max};
}

Result<void> MatrixFiles::count(std::int64_t rows) {
    rows_ += rows;
    if (rows_ > bytes_max_ / static_cast<std::int64_t>(sizeof(float)) / columns_) {
        return Error{ErrorCode::resource_exhausted,
                     fmt::format("the encoded rows exceed the limit of {} bytes", bytes_max_),
                     source_.string()};
    }
    return {};
}

Result<void> MatrixFiles::append(std::span<const float> features, std::span<const float> target) {
    auto done = features_.append(features);
    return done ? target_.append(target) : done;
}

Result<MatrixDigests> MatrixFiles::finish() {
    auto features = features_.finish();
    if (!features) {
        return std::move(features).error();
    }
    auto target = target_.finish();
    if (!target) {
        return std::move(target).error();
    }
    return MatrixDigests{std::move(*features), std::move(*target)};
}

} // namespace muster::data
