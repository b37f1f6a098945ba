#include "shipping/landing.h"

#include "base/assert.h"
#include "base/unnamed_file.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>

namespace muster::shipping {
namespace {

constexpr std::size_t read_bytes = 1U << 20U;
constexpr std::size_t write_bytes =
    16U << 10U; // what a cache holds and the kernel has pages for; 1 MB took twice as long

/// Writes all of `bytes` at `offset`; returns 0 or errno.
int write_all(int file, std::span<const std::byte> bytes, std::int64_t offset) {
    while (!bytes.empty()) {
        const ssize_t written = ::pwrite(file, bytes.data(), std::min(bytes.size(), write_bytes), offset);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return written < 0 ? errno : ENOSPC;
        }
        bytes = bytes.subspan(static_cast<std::size_t>(written));
        offset += written;
    }
    return 0;
}

/// Adds the first `bytes` of the file to `hash`; returns 0 or errno.
int hash_file(int file, std::int64_t bytes, Sha256& hash) {
    std::vector<std::byte> buffer(read_bytes);
    for (std::int64_t at = 0; at < bytes;) {
        const auto wanted = static_cast<std::size_t>(std::min<std::int64_t>(std::ssize(buffer), bytes - at));
        const ssize_t count = ::pread(file, buffer.data(), wanted, at);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count <= 0) {
            return count < 0 ? errno : EIO;
        }
        hash.update(std::span{buffer}.first(static_cast<std::size_t>(count)));
        at += count;
    }
    return 0;
}

} // namespace

Result<Landing> Landing::over(std::vector<LandingPart> parts, std::string digest, Combine combine) {
    std::int64_t bytes = 0;
    for (const LandingPart& part : parts) {
        if (part.bytes < 0 || part.bytes > std::numeric_limits<std::int64_t>::max() - bytes) {
            return Error{.code = ErrorCode::invalid_argument,
                         .message = fmt::format("{} cannot have {} bytes", part.name, part.bytes)};
        }
        bytes += part.bytes;
    }
    Landing landing{std::move(parts), std::move(digest), std::move(combine), bytes};
    if (auto taken = landing.take_what_is_there(); !taken) {
        return std::move(taken).error();
    }
    return landing;
}

Landing::Landing(std::vector<LandingPart> parts, std::string digest, Combine combine, std::int64_t bytes)
    : parts_{std::move(parts)},
      hashes_(parts_.size()), digest_{std::move(digest)}, combine_{std::move(combine)}, bytes_{bytes} {}

/// Files that no landing can have left so are emptied: what they hold is not the beginning of what is shipped.
Result<void> Landing::take_what_is_there() {
    bool complete = true; // all parts so far
    for (std::size_t i = 0; i < parts_.size(); ++i) {
        const std::int64_t size = ::lseek(parts_[i].file.get(), 0, SEEK_END); // a box may forbid fstat()
        if (size < 0) {
            return file_error(errno, parts_[i].name);
        }
        if (size > parts_[i].bytes || (size > 0 && !complete)) {
            return restart();
        }
        if (const int error = hash_file(parts_[i].file.get(), size, hashes_[i]); error != 0) {
            return file_error(error, parts_[i].name);
        }
        arrived_ += size;
        complete = complete && size == parts_[i].bytes;
    }
    return {};
}

Result<void> Landing::restart() {
    hashes_ = std::vector<Sha256>(parts_.size());
    arrived_ = 0;
    for (const LandingPart& part : parts_) {
        if (::ftruncate(part.file.get(), 0) != 0) {
            return file_error(errno, part.name);
        }
    }
    return {};
}

Result<void> Landing::append(std::span<const std::byte> bytes) {
    MUSTER_ASSERT(std::ssize(bytes) <= bytes_ - arrived_);
    std::int64_t begin = 0; // of the part, in the whole
    for (std::size_t i = 0; i < parts_.size() && !bytes.empty(); ++i) {
        const std::int64_t end = begin + parts_[i].bytes;
        if (arrived_ < end) {
            const auto size = std::min<std::int64_t>(std::ssize(bytes), end - arrived_);
            const auto piece = bytes.first(static_cast<std::size_t>(size));
            if (const int error = write_all(parts_[i].file.get(), piece, arrived_ - begin); error != 0) {
                return file_error(error, parts_[i].name);
            }
            hashes_[i].update(piece);
            arrived_ += size;
            bytes = bytes.subspan(piece.size());
        }
        begin = end;
    }
    return {};
}

Result<void> Landing::verify() {
    MUSTER_ASSERT(arrived_ == bytes_);
    if (verified_) {
        return {};
    }
    std::vector<std::string> digests;
    for (Sha256& hash : hashes_) {
        digests.push_back(hash.finish_hex());
    }
    const std::string found = combine_(digests);
    if (found == digest_) {
        verified_ = true;
        return {};
    }
    if (auto emptied = restart(); !emptied) {
        return emptied;
    }
    return Error{.code = ErrorCode::conflict,
                 .message = fmt::format("what arrived has the digest {}, agreed was {}", found, digest_)};
}

} // namespace muster::shipping
