#include "store/file_artefacts.h"

#include "base/digest.h"
#include "base/fd.h"
#include "base/id.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <system_error>
#include <utility>

namespace muster::store {
namespace {

namespace fs = std::filesystem;

/// Only names of this form become file names: no way out of the folder.
Result<void> check_name(const std::string& sha256) {
    constexpr std::size_t digits = 64;
    const auto hexadecimal = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
    if (sha256.size() != digits || !std::ranges::all_of(sha256, hexadecimal)) {
        return Error{ErrorCode::invalid_argument,
                     "a blob is named by the 64 lower-case hexadecimal digits of its SHA-256"};
    }
    return {};
}

Error failed(std::string_view doing, int code) {
    return Error{ErrorCode::unavailable, fmt::format("cannot {}: {}", doing, std::system_category().message(code))};
}

/// Returns the size of a file, -1 when there is none.
std::int64_t size_of(const fs::path& path) {
    struct stat status {};
    return ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) ? status.st_size : -1;
}

Result<void> sync(const fs::path& path, int flags) {
    const UniqueFd fd{::open(path.c_str(), flags | O_CLOEXEC)};
    if (!fd.valid() || ::fsync(fd.get()) != 0) {
        return failed("sync a blob", errno);
    }
    return {};
}

Result<void> write_at(int fd, std::int64_t offset, std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t written = ::pwrite(fd, bytes.data(), bytes.size(), offset);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written < 0) {
            return failed("write a blob", errno);
        }
        offset += written;
        bytes.remove_prefix(static_cast<std::size_t>(written));
    }
    return {};
}

/// Brings `file` to `target` in one step, also from another file system.
Result<void> move_file(const fs::path& file, const fs::path& target) {
    if (::rename(file.c_str(), target.c_str()) == 0) {
        return {};
    }
    if (errno != EXDEV) {
        return failed("publish a blob", errno);
    }
    const fs::path copy = target.string() + "." + random_hex(6) + ".tmp";
    std::error_code code;
    fs::copy_file(file, copy, code);
    Result<void> done;
    if (code) {
        done = failed("copy a blob", code.value());
    } else if (done = sync(copy, O_RDONLY); done && ::rename(copy.c_str(), target.c_str()) != 0) {
        done = failed("publish a blob", errno);
    }
    ::unlink(done ? file.c_str() : copy.c_str());
    return done;
}

} // namespace

Result<std::unique_ptr<FileArtefacts>> FileArtefacts::open(const ArtefactSettings& settings) {
    for (const char* folder : {"blobs", "partial"}) {
        std::error_code code;
        fs::create_directories(settings.folder / folder, code);
        if (code) {
            return failed("make " + (settings.folder / folder).string(), code.value());
        }
    }
    std::unique_ptr<FileArtefacts> artefacts{new FileArtefacts{settings}};
    artefacts->remove_old_uploads();
    return artefacts;
}

fs::path FileArtefacts::blob(const std::string& sha256) const {
    return settings_.folder / "blobs" / sha256;
}

fs::path FileArtefacts::partial(const std::string& sha256) const {
    return settings_.folder / "partial" / sha256;
}

std::mutex& FileArtefacts::turn_of(const std::string& sha256) const {
    return turns_[std::hash<std::string>{}(sha256) % turns];
}

void FileArtefacts::remove_old_uploads() const {
    const auto oldest = fs::file_time_type::clock::now() - settings_.partial_age_max;
    std::error_code code;
    for (fs::directory_iterator entry{settings_.folder / "partial", code}, end; !code && entry != end;
         entry.increment(code)) {
        std::error_code ignored; // one that cannot be removed is tried again at the next start
        if (entry->last_write_time(ignored) < oldest) {
            fs::remove(entry->path(), ignored);
        }
    }
}

Result<void> FileArtefacts::check_partial_count() const {
    std::error_code code;
    const fs::directory_iterator uploads{settings_.folder / "partial", code};
    if (code) {
        return failed("read the folder of uploads", code.value());
    }
    if (static_cast<std::size_t>(std::distance(begin(uploads), end(uploads))) >= settings_.partial_uploads_max) {
        return Error{ErrorCode::resource_exhausted,
                     fmt::format("there are {} unfinished uploads already", settings_.partial_uploads_max)};
    }
    return {};
}

Result<void> FileArtefacts::publish(const fs::path& file, const std::string& sha256) {
    const auto digest = sha256_file(file);
    if (!digest) {
        return digest.error();
    }
    if (*digest != sha256) {
        return Error{ErrorCode::invalid_argument,
                     fmt::format("the content has the digest {}, not {}", *digest, sha256)};
    }
    if (auto synced = sync(file, O_RDONLY); !synced) {
        return synced;
    }
    if (auto moved = move_file(file, blob(sha256)); !moved) {
        return moved;
    }
    return sync(settings_.folder / "blobs", O_RDONLY | O_DIRECTORY);
}

Result<void> FileArtefacts::adopt(const fs::path& file, const std::string& sha256) {
    if (auto named = check_name(sha256); !named) {
        return named;
    }
    const std::scoped_lock turn{turn_of(sha256)};
    const std::int64_t size = size_of(file);
    if (size < 0) {
        return Error{ErrorCode::not_found, fmt::format("there is no file {}", file.string())};
    }
    if (size > settings_.blob_bytes_max) {
        return Error{ErrorCode::resource_exhausted,
                     fmt::format("a blob has at most {} bytes, this one has {}", settings_.blob_bytes_max, size)};
    }
    return publish(file, sha256);
}

Result<fs::path> FileArtefacts::path_of(const std::string& sha256) const {
    if (auto named = check_name(sha256); !named) {
        return std::move(named).error();
    }
    if (size_of(blob(sha256)) < 0) {
        return Error{ErrorCode::not_found, fmt::format("there is no blob {}", sha256)};
    }
    return blob(sha256);
}

std::int64_t FileArtefacts::partial_bytes(const std::string& sha256) const {
    return check_name(sha256) ? std::max<std::int64_t>(size_of(partial(sha256)), 0) : 0;
}

Result<void> FileArtefacts::append(const std::string& sha256, std::int64_t offset, std::string_view bytes) {
    if (auto named = check_name(sha256); !named) {
        return named;
    }
    const std::scoped_lock turn{turn_of(sha256)};
    if (size_of(blob(sha256)) >= 0) {
        return Error{ErrorCode::conflict, fmt::format("the blob {} is complete already", sha256)};
    }
    const std::int64_t have = size_of(partial(sha256));
    if (offset != std::max<std::int64_t>(have, 0)) {
        return Error{ErrorCode::conflict,
                     fmt::format("the upload goes on at byte {}, not {}", std::max<std::int64_t>(have, 0), offset)};
    }
    if (static_cast<std::int64_t>(bytes.size()) > settings_.blob_bytes_max - offset) {
        return Error{ErrorCode::resource_exhausted,
                     fmt::format("a blob has at most {} bytes", settings_.blob_bytes_max)};
    }
    if (have < 0) {
        if (auto room = check_partial_count(); !room) {
            return room;
        }
    }
    const UniqueFd file{::open(partial(sha256).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0640)};
    if (!file.valid()) {
        return failed("write a blob", errno);
    }
    auto written = write_at(file.get(), offset, bytes);
    if (!written) {
        ::unlink(partial(sha256).c_str());
    }
    return written;
}

Result<void> FileArtefacts::finish(const std::string& sha256) {
    if (auto named = check_name(sha256); !named) {
        return named;
    }
    const std::scoped_lock turn{turn_of(sha256)};
    if (size_of(partial(sha256)) < 0) {
        return size_of(blob(sha256)) >= 0
                   ? Result<void>{}
                   : Error{ErrorCode::not_found, fmt::format("there is no upload of {}", sha256)};
    }
    auto published = publish(partial(sha256), sha256);
    if (!published && published.error().code == ErrorCode::invalid_argument) {
        ::unlink(partial(sha256).c_str());
    }
    return published;
}

void FileArtefacts::remove(const std::string& sha256) {
    if (!check_name(sha256)) {
        return;
    }
    const std::scoped_lock turn{turn_of(sha256)};
    ::unlink(blob(sha256).c_str());
    ::unlink(partial(sha256).c_str());
}

} // namespace muster::store
