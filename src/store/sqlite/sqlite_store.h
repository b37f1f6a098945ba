/// The store in one SQLite file.
#pragma once

#include "base/result.h"
#include "port/store.h"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>

namespace muster::store {

/// Where the store is and what it may use.
struct SqliteSettings {
    std::filesystem::path path;                    ///< the database file; its folder must be there
    std::int64_t bytes_max{8LL << 30};             ///< the file grows no further: StoreDown
    std::chrono::milliseconds open_timeout{2'000}; ///< how long open() waits for another process to let go
};

/// Keeps records in an SQLite database: write-ahead log, synchronous FULL, so a commit that returned survives kill -9
/// and power loss. Holds the file exclusively: two producers on one store would train twice. Safe from any thread; the
/// calls take turns on one connection.
class SqliteStore final : public Store {
public:
    /// Opens or creates (mode 0600) the file and brings its schema up to date.
    /// Errors: unavailable, when another process holds it, or it cannot be read or written; invalid_argument, when the
    /// file is no store of ours or was written by a newer version.
    [[nodiscard]] static Result<std::unique_ptr<SqliteStore>> open(const SqliteSettings& settings);
    ~SqliteStore() override;

    [[nodiscard]] std::optional<Record> read(const std::string& kind, const std::string& key) override;
    [[nodiscard]] std::vector<Record> list(const std::string& kind, const std::string& prefix = "") override;
    /// Each write sees those before it in the same commit. After a failed fsync nobody knows what the disk holds: then
    /// every later call throws StoreDown as well, until the process has been started again.
    [[nodiscard]] Result<void> commit(std::span<const Write> writes) override;

private:
    class Connection;
    explicit SqliteStore(std::unique_ptr<Connection> connection);
    std::unique_ptr<Connection> connection_;
};

} // namespace muster::store
