#include "data/bytes.h"

#include "base/source_files.h"

#include <arrow/buffer.h>
#include <arrow/io/compressed.h>
#include <arrow/io/file.h>
#include <arrow/memory_pool.h>
#include <arrow/util/compression.h>
#include <fmt/format.h>

namespace muster::data {
namespace {

bool mentions(const arrow::Status& status, std::string_view words) {
    return status.message().find(words) != std::string::npos;
}

arrow::Result<std::shared_ptr<arrow::io::InputStream>> open_bytes(const std::filesystem::path& path) {
    ARROW_ASSIGN_OR_RAISE(auto file, arrow::io::ReadableFile::Open(path.string(), arrow::system_memory_pool()));
    ARROW_ASSIGN_OR_RAISE(const auto start, file->Read(2));
    ARROW_RETURN_NOT_OK(file->Seek(0));
    if (start->ToString() != "\x1f\x8b") {
        return file;
    }
    struct Both { // the stream borrows the codec, so both travel together
        std::shared_ptr<arrow::util::Codec> codec;
        std::shared_ptr<arrow::io::CompressedInputStream> stream;
    };
    auto both = std::make_shared<Both>();
    ARROW_ASSIGN_OR_RAISE(both->codec, arrow::util::Codec::Create(arrow::Compression::GZIP));
    ARROW_ASSIGN_OR_RAISE(
        both->stream,
        arrow::io::CompressedInputStream::Make(both->codec.get(), std::move(file), arrow::system_memory_pool()));
    arrow::io::InputStream* input = both->stream.get();
    return std::shared_ptr<arrow::io::InputStream>{std::move(both), input};
}

} // namespace

Error reading_refusal(const std::string& file, const arrow::Status& status) {
    if (status.IsOutOfMemory()) {
        return {ErrorCode::resource_exhausted, "memory ran out while reading; raise --memory-limit", file};
    }
    if (mentions(status, "runcated compressed stream")) {
        return {ErrorCode::invalid_argument, "the gzip file ends early: it was truncated, copy it again", file};
    }
    if (mentions(status, "zlib")) {
        return {ErrorCode::invalid_argument, "the gzip file is damaged (" + status.message() + ")", file};
    }
    return {ErrorCode::unavailable, "cannot be read: " + status.message(), file};
}

namespace {

/// Errors: not_found; invalid_argument, when it is no regular file: another kind may never end.
Result<void> check_regular(const std::filesystem::path& path) {
    std::error_code failure;
    const auto status = std::filesystem::status(path, failure);
    if (!std::filesystem::exists(status)) {
        return Error{ErrorCode::not_found, "there is no such file", path.string()};
    }
    if (!std::filesystem::is_regular_file(status)) {
        return Error{ErrorCode::invalid_argument, "this is not a regular file", path.string()};
    }
    return {};
}

/// Reads one file; `read_so_far` counts over all.
Result<void> read_one(const std::filesystem::path& path,
                      const Settings& settings,
                      std::int64_t& read_so_far,
                      const std::function<Result<void>(std::string_view)>& take) {
    const auto bytes = open_file(path);
    if (!bytes) {
        return bytes.error();
    }
    while (true) {
        const auto read = (*bytes)->Read(settings.block_bytes);
        if (!read.ok()) {
            return reading_refusal(path.string(), read.status());
        }
        const std::string_view piece{**read};
        if (piece.empty()) {
            return {};
        }
        read_so_far += (*read)->size();
        if (read_so_far > settings.source_bytes_max) {
            return Error{ErrorCode::resource_exhausted,
                         fmt::format("larger than {} bytes uncompressed", settings.source_bytes_max),
                         path.string()};
        }
        if (auto taken = take(piece); !taken) {
            return taken;
        }
    }
}

} // namespace

Result<std::shared_ptr<arrow::io::InputStream>> open_file(const std::filesystem::path& path) {
    if (auto regular = check_regular(path); !regular) {
        return std::move(regular).error();
    }
    auto bytes = open_bytes(path);
    if (!bytes.ok()) {
        return reading_refusal(path.string(), bytes.status());
    }
    return std::move(bytes).ValueUnsafe();
}

Result<std::string> first_bytes(const std::filesystem::path& path) {
    if (auto regular = check_regular(path); !regular) {
        return std::move(regular).error();
    }
    constexpr std::int64_t count = 8;
    const auto file = arrow::io::ReadableFile::Open(path.string(), arrow::system_memory_pool());
    if (!file.ok()) {
        return reading_refusal(path.string(), file.status());
    }
    const auto read = (*file)->Read(count);
    return read.ok() ? Result<std::string>{(*read)->ToString()} : reading_refusal(path.string(), read.status());
}

Result<void> read_bytes(const std::filesystem::path& path,
                        const Settings& settings,
                        const std::function<Result<void>(std::string_view)>& take) {
    const auto files = source_files(path);
    if (!files) {
        return files.error();
    }
    std::int64_t read_so_far = 0;
    for (const auto& file : *files) {
        if (auto read = read_one(file, settings, read_so_far, take); !read) {
            return read;
        }
    }
    return {};
}

} // namespace muster::data
