/// One SQLite connection and its statements, with failures as StoreDown. Internal to store.
#pragma once

#include "port/store.h"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

struct sqlite3;
struct sqlite3_stmt;

namespace muster::store {

/// StoreDown with SQLite's extended result code.
class SqliteFailure final : public StoreDown {
public:
    SqliteFailure(int code, const std::string& message) : StoreDown{message}, code_{code} {}
    [[nodiscard]] int code() const { return code_; }

private:
    int code_;
};

/// A prepared statement. Parameters and columns count from 1 and 0, as in SQLite. One thread at a time.
class Statement {
public:
    /// Throws StoreDown when `sql` cannot be prepared.
    Statement(sqlite3* database, std::string_view sql);
    ~Statement();
    Statement(const Statement&) = delete;
    Statement& operator=(const Statement&) = delete;

    /// Binds text, which must live until reset().
    void bind(int index, std::string_view text);
    void bind(int index, std::int64_t number);
    /// Goes to the next row; false after the last. Throws StoreDown.
    [[nodiscard]] bool step();
    [[nodiscard]] std::string text(int column) const;
    [[nodiscard]] std::int64_t integer(int column) const;
    /// Makes it ready for other parameters.
    void reset() noexcept;

private:
    sqlite3* database_;
    sqlite3_stmt* statement_{nullptr};
};

/// Resets a statement at the end of a scope, so that it holds no read transaction open.
class ResetAtEnd {
public:
    explicit ResetAtEnd(Statement& statement) : statement_{statement} {}
    ~ResetAtEnd() { statement_.reset(); }
    ResetAtEnd(const ResetAtEnd&) = delete;
    ResetAtEnd& operator=(const ResetAtEnd&) = delete;

private:
    Statement& statement_;
};

/// Closes a connection.
struct CloseDatabase {
    void operator()(sqlite3* database) const noexcept;
};
using Database = std::unique_ptr<sqlite3, CloseDatabase>;

/// Opens or creates a database file. Throws StoreDown.
[[nodiscard]] Database open_database(const std::filesystem::path& path);
/// Runs one statement without parameters and rows of interest. Throws StoreDown.
void execute(sqlite3* database, const std::string& sql);
/// Returns the integer that a PRAGMA answers. Throws StoreDown.
[[nodiscard]] std::int64_t pragma(sqlite3* database, const std::string& name);

/// Raises SqliteFailure with SQLite's words for the connection's last failure.
[[noreturn]] void raise_store_down(sqlite3* database, std::string_view doing);

} // namespace muster::store
