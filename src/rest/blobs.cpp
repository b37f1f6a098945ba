#include "rest/blobs.h"

#include "link/blob_upload.h"
#include "rest/problem.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>

namespace muster::rest {
namespace {

/// Content-Range of a PUT (RFC 9110 14.4). `first` = `total` for "bytes */total": the end without a part.
struct Range {
    std::int64_t first{};
    std::int64_t end{}; ///< one past the last byte
    std::int64_t total{};
};

std::optional<std::int64_t> take_number(std::string_view& text) {
    std::int64_t value = -1;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (problem != std::errc{} || value < 0) {
        return std::nullopt;
    }
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    return value;
}

bool take(std::string_view& text, std::string_view start) {
    const bool there = text.starts_with(start);
    text.remove_prefix(there ? start.size() : 0);
    return there;
}

std::optional<Range> parse_range(std::string_view text) {
    if (!take(text, "bytes ")) {
        return std::nullopt;
    }
    Range range;
    if (take(text, "*/")) {
        const auto total = take_number(text);
        if (!total || !text.empty()) {
            return std::nullopt;
        }
        return Range{*total, *total, *total};
    }
    const auto first = take_number(text);
    const bool dash = take(text, "-");
    const auto last = take_number(text);
    const bool slash = take(text, "/");
    const auto total = take_number(text);
    if (!first || !dash || !last || !slash || !total || !text.empty() || *first > *last || *last >= *total) {
        return std::nullopt;
    }
    return Range{*first, *last + 1, *total};
}

bool is_digest(const std::string& text) {
    return text.size() == 64 &&
           std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

Response not_a_digest() {
    return write_problem(Error{ErrorCode::invalid_argument, "a blob is named by 64 lower-case hexadecimal digits"});
}

Response at_offset(Response response, std::int64_t offset) {
    response.headers.emplace_back(link::offset_header, std::to_string(offset));
    return response;
}

Response of_status(int status) {
    Response response;
    response.status = status;
    return response;
}

} // namespace

Response get_blob(const Call& call) {
    const auto& sha256 = call.captures.at(0);
    if (!is_digest(sha256)) {
        return not_a_digest();
    }
    const auto path = call.world.artefacts.path_of(sha256);
    if (!path) {
        return read_problem(path.error());
    }
    Response response;
    response.content_type = "application/octet-stream";
    response.headers.emplace_back("ETag", "\"" + sha256 + "\"");
    response.file = *path;
    return response;
}

Response head_blob(const Call& call) {
    const auto& sha256 = call.captures.at(0);
    if (is_digest(sha256) && !call.world.artefacts.path_of(sha256)) {
        return at_offset(of_status(404), call.world.artefacts.partial_bytes(sha256));
    }
    return get_blob(call);
}

Response put_blob(const Call& call) {
    const auto& sha256 = call.captures.at(0);
    auto& artefacts = call.world.artefacts;
    if (!is_digest(sha256)) {
        return not_a_digest();
    }
    if (artefacts.path_of(sha256)) {
        return of_status(200);
    }
    const auto& bytes = call.request.body;
    const auto size = static_cast<std::int64_t>(bytes.size());
    const auto header = call.request.header("content-range");
    const auto range = header.empty() ? std::optional{Range{0, size, size}} : parse_range(header);
    if (!range || range->end - range->first != size) {
        return write_problem(Error{
            ErrorCode::invalid_argument, "expected 'bytes first-last/total' that fits the body", "Content-Range"});
    }
    const bool is_users = !call.caller || call.caller->role() != tls::Role::function;
    if (is_users && range->total > call.world.program_bytes_max) {
        return write_problem(Error{ErrorCode::invalid_argument,
                                   fmt::format("an archive of {} bytes is too large, at most {} are taken "
                                               "(limits.program_bytes_max)",
                                               range->total,
                                               call.world.program_bytes_max)});
    }
    if (size > 0) {
        if (auto appended = artefacts.append(sha256, range->first, bytes); !appended) {
            auto refusal = write_problem(appended.error());
            return refusal.status == 409 ? at_offset(std::move(refusal), artefacts.partial_bytes(sha256)) : refusal;
        }
    }
    if (range->end < range->total) {
        return at_offset(of_status(202), range->end);
    }
    const auto finished = artefacts.finish(sha256);
    return finished ? of_status(201) : write_problem(finished.error());
}

} // namespace muster::rest
