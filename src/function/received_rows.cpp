#include "function/received_rows.h"

#include "base/log.h"
#include "base/unnamed_file.h"

#include <fmt/format.h>

#include <system_error>

namespace muster::function {

ReceivedRows::ReceivedRows(std::filesystem::path folder, std::int64_t bytes_max)
    : folder_{std::move(folder)}, bytes_max_{bytes_max} {}

Result<std::vector<LandingFile>> ReceivedRows::files_for(const MatrixInfo& info) {
    if (digest_ != info.digest || files_.empty()) {
        drop();
        if (const std::int64_t bytes = bytes_of(info); bytes > bytes_max_) {
            return Error{ErrorCode::resource_exhausted,
                         fmt::format("the rows have {} bytes, {} are taken from other functions at most "
                                     "(policy.received_mb_max)",
                                     bytes,
                                     bytes_max_)};
        }
        std::error_code code;
        std::filesystem::create_directories(folder_, code);
        std::vector<File> files;
        for (const MatrixPart& part : parts_of(info)) {
            auto file = open_unnamed(folder_, part.bytes);
            if (!file) {
                return std::move(file).error();
            }
            files.push_back({part.name, std::move(*file)});
        }
        files_ = std::move(files);
        digest_ = info.digest;
    }
    until_ = SteadyTime::max();
    std::vector<LandingFile> files;
    for (const File& file : files_) {
        files.push_back({file.name, file.fd.get()});
    }
    return files;
}

void ReceivedRows::drop() {
    if (!files_.empty()) {
        log::info("rows of other functions are deleted digest={}", digest_);
    }
    files_.clear();
    digest_.clear();
}

void ReceivedRows::keep(SteadyTime until) {
    until_ = until;
}

void ReceivedRows::drop_when_due(SteadyTime now) {
    if (now >= until_) {
        drop();
        until_ = SteadyTime::max();
    }
}

} // namespace muster::function
