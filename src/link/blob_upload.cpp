#include "link/blob_upload.h"

#include "base/fd.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <charconv>
#include <condition_variable>
#include <mutex>
#include <system_error>

namespace muster::link {
namespace {

constexpr std::chrono::milliseconds pause_first{100};
constexpr std::chrono::milliseconds pause_longest{2'000};
/// Time for one part; a part that takes longer is sent again from where the producer stands.
constexpr std::chrono::seconds part_max{60};

/// The file to be sent.
struct Source {
    UniqueFd fd;
    std::int64_t bytes{};
};

Result<Source> open_source(const std::filesystem::path& file) {
    Source source{UniqueFd{::open(file.c_str(), O_RDONLY | O_CLOEXEC)}};
    struct stat status {};
    if (!source.fd.valid() || ::fstat(source.fd.get(), &status) != 0) {
        return Error{ErrorCode::not_found,
                     fmt::format("cannot read {}: {}", file.string(), std::generic_category().message(errno))};
    }
    source.bytes = status.st_size;
    return source;
}

Result<std::string> read_part(const Source& source, std::int64_t offset, std::size_t bytes) {
    std::string part(std::min(bytes, static_cast<std::size_t>(source.bytes - offset)), '\0');
    for (std::size_t have = 0; have < part.size();) {
        const auto got =
            ::pread(source.fd.get(), part.data() + have, part.size() - have, offset + static_cast<std::int64_t>(have));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return Error{ErrorCode::not_found,
                         fmt::format("the file cannot be read to its end: {}", std::generic_category().message(errno))};
        }
        have += static_cast<std::size_t>(got);
    }
    return part;
}

/// What an answer's header says about how far the producer is; none when it says nothing sane.
std::optional<std::int64_t> offset_of(const Answer& answer, std::int64_t bytes) {
    const auto text = answer.header(offset_header);
    std::int64_t offset = -1;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), offset);
    const bool sane = problem == std::errc{} && end == text.data() + text.size() && offset >= 0 && offset <= bytes;
    return sane ? std::optional{offset} : std::nullopt;
}

/// What a refusal means for the caller: some can be tried again.
Error refusal(const Answer& answer) {
    const auto code = answer.status == 401                           ? ErrorCode::unauthenticated
                      : answer.status == 403                         ? ErrorCode::permission_denied
                      : answer.status == 404                         ? ErrorCode::not_found
                      : answer.status == 429 || answer.status >= 500 ? ErrorCode::unavailable
                                                                     : ErrorCode::invalid_argument;
    return {code, fmt::format("the producer answered {}: {}", answer.status, answer.body.substr(0, 300))};
}

/// One attempt: from where the producer stands to the end, over one connection.
Result<void> attempt(
    HttpsClient client, const Source& source, const std::string& sha256, std::size_t chunk_bytes, Deadline deadline) {
    const auto path = blob_path(sha256);
    const auto soon = [&] { return Deadline{std::min(deadline.at(), Deadline::after(part_max).at())}; };
    auto answer = client.request("HEAD", path, {}, {}, soon());
    if (!answer) {
        return std::move(answer).error();
    }
    if (answer->status != 200 && answer->status != 404) {
        return refusal(*answer);
    }
    std::int64_t offset = offset_of(*answer, source.bytes).value_or(0);
    while (answer->status != 200 && answer->status != 201) {
        auto part = read_part(source, offset, chunk_bytes);
        if (!part) {
            return std::move(part).error();
        }
        const auto end = offset + static_cast<std::int64_t>(part->size());
        const auto range = part->empty() ? fmt::format("bytes */{}", source.bytes)
                                         : fmt::format("bytes {}-{}/{}", offset, end - 1, source.bytes);
        const Headers headers{{"Content-Range", range}, {"Content-Type", "application/octet-stream"}};
        answer = client.request("PUT", path, headers, std::move(*part), soon());
        if (!answer) {
            return std::move(answer).error();
        }
        const auto stands = offset_of(*answer, source.bytes);
        if (answer->status == 202 || (answer->status == 409 && stands && *stands != offset)) {
            offset = stands.value_or(end);
        } else if (answer->status != 200 && answer->status != 201) {
            return refusal(*answer);
        }
    }
    return {};
}

} // namespace

std::string blob_path(const std::string& sha256) {
    return "/muster/v1/blobs/" + sha256;
}

Result<void> upload_blob(const std::function<HttpsClient()>& connect,
                         const std::filesystem::path& file,
                         const std::string& sha256,
                         std::size_t chunk_bytes,
                         Deadline deadline) {
    const auto source = open_source(file);
    if (!source) {
        return source.error();
    }
    std::mutex mutex;
    std::condition_variable never;
    for (auto pause = pause_first;; pause = std::min(2 * pause, pause_longest)) {
        auto done = attempt(connect(), *source, sha256, chunk_bytes, deadline);
        const bool again =
            !done && (done.error().code == ErrorCode::unavailable || done.error().code == ErrorCode::deadline_exceeded);
        if (!again) {
            return done;
        }
        if (deadline.left() <= pause) {
            return Error{ErrorCode::deadline_exceeded, "not uploaded in time: " + done.error().message};
        }
        std::unique_lock lock{mutex};
        never.wait_for(lock, pause);
    }
}

Result<void> download_blob(HttpsClient client,
                           const std::string& sha256,
                           const std::filesystem::path& file,
                           std::int64_t bytes_max,
                           Deadline deadline) {
    const auto answer = client.download(blob_path(sha256), {}, file, static_cast<std::uint64_t>(bytes_max), deadline);
    if (!answer) {
        return answer.error();
    }
    return answer->status == 200 ? Result<void>{} : refusal(*answer);
}

} // namespace muster::link
