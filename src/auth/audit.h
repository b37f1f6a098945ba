/// The audit log: who did what to which object, and what was refused; one JSON line for each event.
#pragma once

#include "base/clock.h"
#include "base/fd.h"
#include "base/result.h"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>

namespace muster::auth {

/// How an operation ended.
enum class Outcome { done, refused, failed };

struct AuditRecord {
    std::string caller;    ///< Principal::name(), or the peer's address when nobody is known
    std::string operation; ///< e.g. "create"
    std::string object;    ///< DN or path
    Outcome outcome{};
    std::string reason{}; ///< of a refusal or failure
};

struct AuditSettings {
    std::uint64_t bytes_max{64U << 20U}; ///< of one file; then it becomes FILE.1, FILE.1 becomes FILE.2, ...
    int files_max{10};                   ///< files kept, the current one included; the oldest is deleted
    std::size_t field_bytes_max{4'096};  ///< longer texts are cut, so that no caller can fill the disk
};

/// Appends to the audit file. Safe from any thread; a record is on the disk when append returns.
class AuditLog {
public:
    /// Opens or makes the file (mode 0600) and ends a line that a crash has left open. `clock` outlives the log.
    /// Errors: unavailable, with the system's reason; invalid_argument, for settings that cannot be meant.
    [[nodiscard]] static Result<std::unique_ptr<AuditLog>>
    open(std::filesystem::path path, const Clock& clock, AuditSettings settings = {});

    /// Errors: unavailable, with the system's reason (disk full); nothing of the record is in the file then. A caller
    /// that may not act without a record has to refuse.
    [[nodiscard]] Result<void> append(const AuditRecord& record);

private:
    AuditLog(std::filesystem::path path, const Clock& clock, AuditSettings settings)
        : path_{std::move(path)}, clock_{&clock}, settings_{settings} {}
    [[nodiscard]] Result<void> open_file();
    [[nodiscard]] Result<void> rotate();
    [[nodiscard]] Result<void> write_line(const std::string& line);
    [[nodiscard]] std::filesystem::path rotated(int number) const;

    std::filesystem::path path_;
    const Clock* clock_;
    AuditSettings settings_;
    // This lock is held during I/O, unlike those of Guarded: keeping the lines apart and in order is its purpose.
    std::mutex mutex_;
    UniqueFd file_;
    std::uint64_t bytes_{0};
};

} // namespace muster::auth
