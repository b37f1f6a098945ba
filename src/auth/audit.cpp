#include "auth/audit.h"

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace muster::auth {
namespace {

constexpr std::uint64_t bytes_max_least = 4'096;
constexpr int files_max_least = 2;

Error broken(const std::filesystem::path& path, const char* doing, int error) {
    return Error{ErrorCode::unavailable,
                 std::string{"audit log: cannot "} + doing + " " + path.string() + ": " +
                     std::generic_category().message(error)};
}

const char* word_of(Outcome outcome) {
    switch (outcome) {
    case Outcome::done:
        return "done";
    case Outcome::refused:
        return "refused";
    case Outcome::failed:
        return "failed";
    }
    return "failed";
}

/// Makes a rename or a new file survive a power cut.
Result<void> sync_folder_of(const std::filesystem::path& path) {
    const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
    const UniqueFd fd{::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (!fd.valid() || ::fsync(fd.get()) != 0) {
        return broken(folder, "sync", errno);
    }
    return {};
}

} // namespace

Result<std::unique_ptr<AuditLog>>
AuditLog::open(std::filesystem::path path, const Clock& clock, AuditSettings settings) {
    if (settings.bytes_max < bytes_max_least || settings.files_max < files_max_least || settings.field_bytes_max == 0) {
        return Error{ErrorCode::invalid_argument,
                     "audit log: bytes_max is at least 4096, files_max at least 2, field_bytes_max at least 1"};
    }
    std::unique_ptr<AuditLog> log{new AuditLog{std::move(path), clock, settings}};
    if (auto done = log->open_file(); !done) {
        return std::move(done).error();
    }
    return log;
}

Result<void> AuditLog::open_file() {
    UniqueFd file{::open(path_.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600)};
    struct stat status {};
    if (!file.valid() || ::fstat(file.get(), &status) != 0) {
        return broken(path_, "open", errno);
    }
    if (auto done = sync_folder_of(path_); !done) {
        return done;
    }
    file_ = std::move(file);
    bytes_ = static_cast<std::uint64_t>(status.st_size);
    char last = '\n';
    if (bytes_ > 0 && ::pread(file_.get(), &last, 1, status.st_size - 1) != 1) {
        return broken(path_, "read", errno);
    }
    return last == '\n' ? Result<void>{} : write_line("\n");
}

std::filesystem::path AuditLog::rotated(int number) const {
    return number == 0 ? path_ : std::filesystem::path{path_.string() + "." + std::to_string(number)};
}

Result<void> AuditLog::rotate() {
    // After a rotation that could not open the new file, the older ones must not move on once more.
    std::error_code ignored;
    const int first = std::filesystem::exists(path_, ignored) ? settings_.files_max - 2 : -1;
    for (int number = first; number >= 0; --number) {
        if (::rename(rotated(number).c_str(), rotated(number + 1).c_str()) != 0 && errno != ENOENT) {
            return broken(rotated(number), "rename", errno);
        }
    }
    return open_file();
}

Result<void> AuditLog::write_line(const std::string& line) {
    std::size_t written = 0;
    int error = 0;
    while (written < line.size() && error == 0) {
        const ssize_t count = ::write(file_.get(), line.data() + written, line.size() - written);
        if (count >= 0) {
            written += static_cast<std::size_t>(count);
        } else if (errno != EINTR) {
            error = errno;
        }
    }
    if (error == 0 && ::fdatasync(file_.get()) != 0) {
        error = errno;
    }
    if (error == 0) {
        bytes_ += line.size();
        return {};
    }
    // Half a line would spoil the next one.
    if (::ftruncate(file_.get(), static_cast<off_t>(bytes_)) != 0) {
        return broken(path_, "write (and then not shorten)", error);
    }
    return broken(path_, "write", error);
}

Result<void> AuditLog::append(const AuditRecord& record) {
    const auto cut = [&](const std::string& text) { return text.substr(0, settings_.field_bytes_max); };
    const std::scoped_lock lock{mutex_};
    const nlohmann::ordered_json json{{"time", rfc3339(clock_->wall_now())},
                                      {"caller", cut(record.caller)},
                                      {"operation", cut(record.operation)},
                                      {"object", cut(record.object)},
                                      {"outcome", word_of(record.outcome)},
                                      {"reason", cut(record.reason)}};
    const std::string line = json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
    if (bytes_ > 0 && bytes_ + line.size() > settings_.bytes_max) {
        if (auto done = rotate(); !done) {
            return done;
        }
    }
    return write_line(line);
}

} // namespace muster::auth
