#include "data/cache.h"

#include "base/file.h"
#include "base/id.h"
#include "wire/preprocessing.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/file.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <thread>
#include <vector>

namespace muster::data {

namespace {

constexpr const char* unpublished_prefix = ".new-";
constexpr std::chrono::milliseconds lock_poll{20}; // flock has no deadline of its own
constexpr std::uintmax_t info_bytes_max = 64U << 20U;

Error failure(const std::filesystem::path& path, const std::string& reason) {
    return {ErrorCode::unavailable, reason, path.string()};
}

/// Says whether the files of a matrix are there in the sizes that its info implies.
bool is_whole(const std::filesystem::path& folder, const MatrixInfo& info) {
    const auto has = [&](const char* name, std::int64_t values) {
        std::error_code error;
        return std::filesystem::file_size(folder / name, error) ==
                   static_cast<std::uintmax_t>(values) * sizeof(float) &&
               !error;
    };
    return has("train.features", info.rows * info.columns) && has("train.target", info.rows) &&
           (info.test_rows == 0 ||
            (has("test.features", info.test_rows * info.columns) && has("test.target", info.test_rows)));
}

/// One published matrix.
struct Entry {
    std::filesystem::path folder;
    std::filesystem::file_time_type used;
    std::int64_t bytes{};
};

std::int64_t bytes_in(const std::filesystem::path& folder) {
    std::int64_t bytes = 0;
    std::error_code error;
    for (const auto& file : std::filesystem::directory_iterator{folder, error}) {
        const auto size = file.file_size(error);
        bytes += error ? 0 : static_cast<std::int64_t>(size);
    }
    return bytes;
}

/// Says whether somebody works on a matrix. One without matrix.json is broken: nobody does.
bool is_in_use(const std::filesystem::path& folder) {
    const UniqueFd file{::open((folder / "matrix.json").c_str(), O_RDONLY | O_CLOEXEC)};
    return file.valid() && ::flock(file.get(), LOCK_EX | LOCK_NB) != 0;
}

} // namespace

Result<Cache> Cache::open(const std::filesystem::path& folder) {
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (error) {
        return failure(folder, "the cache folder cannot be made: " + error.message());
    }
    return Cache{folder};
}

std::optional<Published> Cache::find(const std::string& key) const {
    const auto folder = folder_ / key;
    const auto text = read_file(folder / "matrix.json", info_bytes_max);
    if (!text) {
        return std::nullopt;
    }
    const auto json = nlohmann::json::parse(*text, nullptr, false);
    if (!json.is_object() || !json.contains("info")) {
        return std::nullopt;
    }
    const auto info = wire::matrix_info_from_json(json.at("info"));
    if (!info || !is_whole(folder, *info)) {
        return std::nullopt;
    }
    std::error_code ignored; // it would only be removed earlier than others
    std::filesystem::last_write_time(folder, std::filesystem::file_time_type::clock::now(), ignored);
    return Published{folder, *info};
}

Result<UniqueFd> Cache::lock(Deadline deadline) const {
    const auto path = folder_ / ".lock";
    UniqueFd fd{::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644)};
    if (!fd.valid()) {
        return failure(path, "cannot be opened: " + std::system_category().message(errno));
    }
    while (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR) {
            return failure(path, "cannot be locked: " + std::system_category().message(errno));
        }
        if (deadline.passed()) {
            return Error{ErrorCode::deadline_exceeded, "another muster-data still writes to this cache", path.string()};
        }
        std::this_thread::sleep_for(lock_poll);
    }
    return fd;
}

Result<std::filesystem::path> Cache::begin() const {
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator{folder_, error}) {
        if (entry.path().filename().string().starts_with(unpublished_prefix)) {
            std::filesystem::remove_all(entry.path(), error);
        }
    }
    const auto made = folder_ / (unpublished_prefix + random_hex(8));
    if (!std::filesystem::create_directory(made, error)) {
        return failure(made, "cannot be made: " + error.message());
    }
    return made;
}

Result<Published> Cache::publish(const std::filesystem::path& unpublished,
                                 const std::string& key,
                                 const MatrixInfo& info,
                                 const Preprocessing& preprocessing) const {
    const nlohmann::json document{
        {"format", 1}, {"info", wire::to_json(info)}, {"preprocessing", wire::to_json(preprocessing)}};
    // replace_file also syncs the folder, and with it the names of the matrix files.
    if (auto written = replace_file(unpublished / "matrix.json", document.dump(1)); !written) {
        return std::move(written).error();
    }
    const auto folder = folder_ / key;
    std::error_code error;
    std::filesystem::remove_all(folder, error);
    std::filesystem::rename(unpublished, folder, error);
    if (error) {
        return failure(folder, "cannot be published: " + error.message());
    }
    const UniqueFd directory{::open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (!directory.valid() || ::fsync(directory.get()) != 0) {
        return failure(folder_, "cannot be synced: " + std::system_category().message(errno));
    }
    return Published{folder, info};
}

Result<int> Cache::evict(std::int64_t bytes_max, const std::string& newest) const {
    std::error_code error;
    std::vector<Entry> entries;
    std::int64_t total = 0;
    for (const auto& item : std::filesystem::directory_iterator{folder_, error}) {
        if (item.is_directory() && !item.path().filename().string().starts_with(unpublished_prefix)) {
            entries.push_back({item.path(), item.last_write_time(), bytes_in(item.path())});
            total += entries.back().bytes;
        }
    }
    if (error) {
        return failure(folder_, "cannot be read: " + error.message());
    }
    std::ranges::sort(entries, {}, &Entry::used);
    int removed = 0;
    for (const Entry& entry : entries) {
        if (total <= bytes_max) {
            break;
        }
        if (entry.folder.filename() == newest || is_in_use(entry.folder)) {
            continue;
        }
        // First out of the readers' sight; what is left of it by a crash is removed by begin().
        const auto aside = folder_ / (unpublished_prefix + random_hex(8));
        std::filesystem::rename(entry.folder, aside, error);
        if (error) {
            return failure(entry.folder, "cannot be removed: " + error.message());
        }
        std::filesystem::remove_all(aside, error);
        total -= entry.bytes;
        ++removed;
    }
    return removed;
}

} // namespace muster::data
