#include "store/sqlite/sqlite_store.h"

#include "base/fd.h"
#include "store/sqlite/connection.h"
#include "store/sqlite/migrations.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <system_error>
#include <utility>

namespace muster::store {
namespace {

/// "MSTR": marks the file as ours.
constexpr std::int64_t application_id = 0x4D535452;

constexpr std::string_view select_one = "SELECT body, version FROM record WHERE kind = ?1 AND key = ?2";
constexpr std::string_view select_from =
    "SELECT key, body, version FROM record WHERE kind = ?1 AND key >= ?2 ORDER BY key";
constexpr std::string_view select_version = "SELECT version FROM record WHERE kind = ?1 AND key = ?2";
constexpr std::string_view upsert = "INSERT INTO record (kind, key, body, version) VALUES (?1, ?2, ?3, ?4) "
                                    "ON CONFLICT (kind, key) DO UPDATE SET body = ?3, version = ?4";
constexpr std::string_view delete_one = "DELETE FROM record WHERE kind = ?1 AND key = ?2";

Error refused(ErrorCode code, const std::filesystem::path& path, const std::string& why) {
    return Error{code, fmt::format("store {}: {}", path.string(), why)};
}

/// Makes the file before SQLite does, so that nobody else can read it; the log beside it gets the same mode.
Result<void> create_private(const std::filesystem::path& path) {
    const UniqueFd file{::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
    if (!file.valid()) {
        return refused(ErrorCode::unavailable, path, std::system_category().message(errno));
    }
    return {};
}

void begin(sqlite3* database) {
    execute(database, "BEGIN IMMEDIATE");
}

/// Ends a transaction that must not be kept, if SQLite has not ended it already. Throws StoreDown.
void roll_back(sqlite3* database) {
    if (sqlite3_get_autocommit(database) == 0) {
        execute(database, "ROLLBACK");
    }
}

/// Runs `action` in a transaction: kept when it returns true, else nothing of it is. Throws StoreDown.
template <typename Action>
void transact(sqlite3* database, Action action) {
    begin(database);
    try {
        if (action()) {
            execute(database, "COMMIT");
        }
    } catch (const StoreDown&) {
        if (sqlite3_get_autocommit(database) == 0) {
            // The first failure is the one to report; closing the connection rolls back as well.
            sqlite3_exec(database, "ROLLBACK", nullptr, nullptr, nullptr);
        }
        throw;
    }
    roll_back(database);
}

/// Brings the schema up to date. Errors: invalid_argument.
Result<void> migrate(sqlite3* database, const std::filesystem::path& path) {
    const std::int64_t version = pragma(database, "user_version");
    const std::int64_t owner = pragma(database, "application_id");
    const bool empty = pragma(database, "schema_version") == 0;
    if (!empty && owner != application_id) {
        return refused(ErrorCode::invalid_argument, path, "is a database, but not one of Muster's");
    }
    if (version > static_cast<std::int64_t>(migrations.size())) {
        return refused(ErrorCode::invalid_argument,
                       path,
                       fmt::format("was written by a newer version (schema {}, this program knows {})",
                                   version,
                                   migrations.size()));
    }
    for (auto step = static_cast<std::size_t>(version); step < migrations.size(); ++step) {
        transact(database, [&] {
            execute(database, std::string{migrations[step]});
            execute(database, fmt::format("PRAGMA application_id = {}", application_id));
            execute(database, fmt::format("PRAGMA user_version = {}", step + 1));
            return true;
        });
    }
    return {};
}

void configure(sqlite3* database, const SqliteSettings& settings) {
    sqlite3_busy_timeout(database, static_cast<int>(settings.open_timeout.count()));
    // Exclusive before WAL: the index of the log then lives in our memory and nobody else gets in.
    execute(database, "PRAGMA locking_mode = EXCLUSIVE");
    execute(database, "PRAGMA journal_mode = WAL");
    execute(database, "PRAGMA synchronous = FULL");
    execute(database, "PRAGMA trusted_schema = OFF");
    const std::int64_t page_bytes = pragma(database, "page_size");
    execute(database,
            fmt::format("PRAGMA max_page_count = {}", std::max<std::int64_t>(settings.bytes_max / page_bytes, 1)));
    // Takes the lock now, not at the first write.
    transact(database, [] { return true; });
}

} // namespace

/// The connection with its statements, and the mutex that makes its users take turns. I/O under the lock is its
/// purpose.
class SqliteStore::Connection {
public:
    explicit Connection(Database database)
        : database_{std::move(database)}, select_one_{database_.get(), select_one}, select_from_{database_.get(),
                                                                                                 select_from},
          select_version_{database_.get(), select_version}, upsert_{database_.get(), upsert}, delete_one_{
                                                                                                  database_.get(),
                                                                                                  delete_one} {}

    std::optional<Record> read(const std::string& kind, const std::string& key) {
        return use([&]() -> std::optional<Record> {
            const ResetAtEnd reset{select_one_};
            select_one_.bind(1, kind);
            select_one_.bind(2, key);
            if (!select_one_.step()) {
                return std::nullopt;
            }
            return Record{kind, key, select_one_.text(0), select_one_.integer(1)};
        });
    }

    std::vector<Record> list(const std::string& kind, const std::string& prefix) {
        return use([&] {
            std::vector<Record> found;
            const ResetAtEnd reset{select_from_};
            select_from_.bind(1, kind);
            select_from_.bind(2, prefix);
            while (select_from_.step()) {
                std::string key = select_from_.text(0);
                if (!key.starts_with(prefix)) {
                    break;
                }
                found.push_back({kind, std::move(key), select_from_.text(1), select_from_.integer(2)});
            }
            return found;
        });
    }

    Result<void> commit(std::span<const Write> writes) {
        return use([&] {
            Result<void> done;
            transact(database_.get(), [&] {
                for (const Write& write : writes) {
                    if (done = apply(write); !done) {
                        return false;
                    }
                }
                return true;
            });
            return done;
        });
    }

private:
    template <typename Action>
    auto use(Action action) -> decltype(action()) {
        const std::scoped_lock lock{mutex_};
        if (!broken_.empty()) {
            throw StoreDown{broken_};
        }
        try {
            return action();
        } catch (const SqliteFailure& failure) {
            if (failure.code() == SQLITE_IOERR_FSYNC || failure.code() == SQLITE_IOERR_DIR_FSYNC) {
                broken_ = std::string{failure.what()} + "; start the producer again when the disk is repaired";
            }
            throw;
        }
    }

    std::int64_t version_of(const Write& write) {
        const ResetAtEnd reset{select_version_};
        select_version_.bind(1, write.kind);
        select_version_.bind(2, write.key);
        return select_version_.step() ? select_version_.integer(0) : 0;
    }

    Result<void> apply(const Write& write) {
        const std::int64_t version = version_of(write);
        if (write.expected && *write.expected != version) {
            return Error{ErrorCode::conflict,
                         fmt::format("{} {} has version {}, not {}", write.kind, write.key, version, *write.expected)};
        }
        Statement& statement = write.body ? upsert_ : delete_one_;
        const ResetAtEnd reset{statement};
        statement.bind(1, write.kind);
        statement.bind(2, write.key);
        if (write.body) {
            statement.bind(3, *write.body);
            statement.bind(4, version + 1);
        }
        static_cast<void>(statement.step()); // neither gives rows
        return {};
    }

    std::mutex mutex_;
    Database database_; // outlives the statements below
    Statement select_one_;
    Statement select_from_;
    Statement select_version_;
    Statement upsert_;
    Statement delete_one_;
    std::string broken_; ///< why nothing works any more; empty: all is well
};

SqliteStore::SqliteStore(std::unique_ptr<Connection> connection) : connection_{std::move(connection)} {}
SqliteStore::~SqliteStore() = default;

Result<std::unique_ptr<SqliteStore>> SqliteStore::open(const SqliteSettings& settings) {
    if (auto made = create_private(settings.path); !made) {
        return std::move(made).error();
    }
    try {
        Database database = open_database(settings.path);
        configure(database.get(), settings);
        if (auto migrated = migrate(database.get(), settings.path); !migrated) {
            return std::move(migrated).error();
        }
        return std::unique_ptr<SqliteStore>{new SqliteStore{std::make_unique<Connection>(std::move(database))}};
    } catch (const SqliteFailure& failure) {
        const int code = failure.code() & 0xFF; // without the extension
        if (code == SQLITE_BUSY) {
            return refused(ErrorCode::unavailable, settings.path, "is in use by another process");
        }
        return refused(code == SQLITE_NOTADB ? ErrorCode::invalid_argument : ErrorCode::unavailable,
                       settings.path,
                       failure.what());
    }
}

std::optional<Record> SqliteStore::read(const std::string& kind, const std::string& key) {
    return connection_->read(kind, key);
}

std::vector<Record> SqliteStore::list(const std::string& kind, const std::string& prefix) {
    return connection_->list(kind, prefix);
}

Result<void> SqliteStore::commit(std::span<const Write> writes) {
    return connection_->commit(writes);
}

} // namespace muster::store
