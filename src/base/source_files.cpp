#include "base/source_files.h"

#include <algorithm>
#include <string>
#include <system_error>

namespace muster {
namespace fs = std::filesystem;

Result<std::vector<fs::path>> source_files(const fs::path& path) {
    std::error_code code;
    const auto status = fs::status(path, code);
    if (!fs::exists(status)) {
        return Error{ErrorCode::not_found, "there is no such file", path.string()};
    }
    if (fs::is_regular_file(status)) {
        return std::vector{path};
    }
    if (!fs::is_directory(status)) {
        return Error{ErrorCode::invalid_argument, "this is neither a regular file nor a folder", path.string()};
    }
    std::vector<fs::path> files;
    for (fs::directory_iterator entry{path, code}, end; !code && entry != end; entry.increment(code)) {
        const std::string name = entry->path().filename().string();
        if (name.starts_with('.') || name.starts_with('_') || !entry->is_regular_file(code)) {
            continue;
        }
        files.push_back(entry->path());
        if (files.size() > source_files_max) {
            return Error{ErrorCode::resource_exhausted,
                         "the folder has more than " + std::to_string(source_files_max) + " files",
                         path.string()};
        }
    }
    if (code) {
        return Error{ErrorCode::unavailable, "cannot be listed: " + code.message(), path.string()};
    }
    if (files.empty()) {
        return Error{ErrorCode::invalid_argument, "the folder has no files", path.string()};
    }
    std::ranges::sort(files, {}, [](const fs::path& file) { return file.filename().string(); });
    return files;
}

} // namespace muster
