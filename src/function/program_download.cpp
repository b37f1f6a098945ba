#include "function/program_download.h"

#include "base/digest.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <cerrno>
#include <system_error>

namespace muster::function {
namespace {

namespace fs = std::filesystem;

Result<UniqueFd> opened(const fs::path& file, const ProgramDownload& wanted) {
    UniqueFd program{::open(file.c_str(), O_RDONLY | O_CLOEXEC)};
    if (!program.valid()) {
        return Error{ErrorCode::unavailable, "cannot read it: " + std::system_category().message(errno)};
    }
    const auto digest = sha256_file(file);
    if (!digest || *digest != wanted.sha256) {
        return Error{ErrorCode::invalid_argument, "the producer gave another file than the recipe names"};
    }
    return program;
}

} // namespace

Result<UniqueFd> download_program(ProducerLink& producer, const ProgramDownload& wanted, Deadline deadline) {
    if (wanted.bytes > wanted.bytes_max) {
        return Error{ErrorCode::resource_exhausted,
                     fmt::format("it has {} bytes, this function takes at most {}", wanted.bytes, wanted.bytes_max)};
    }
    std::error_code code;
    fs::remove_all(wanted.folder, code);
    fs::create_directories(wanted.folder, code);
    if (code) {
        return Error{ErrorCode::unavailable, fmt::format("cannot make {}: {}", wanted.folder.string(), code.message())};
    }
    const fs::path file = wanted.folder / wanted.sha256;
    const auto done = producer.download(wanted.sha256, file, wanted.bytes, deadline);
    auto program = done ? opened(file, wanted) : Result<UniqueFd>{done.error()};
    fs::remove_all(wanted.folder, code);
    return program;
}

} // namespace muster::function
