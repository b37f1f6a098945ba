#include "store/sqlite/connection.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <system_error>

namespace muster::store {

void raise_store_down(sqlite3* database, std::string_view doing) {
    const int code = sqlite3_extended_errcode(database);
    const int system_code = sqlite3_system_errno(database);
    std::string why = fmt::format("the store cannot {}: {} (SQLite {})", doing, sqlite3_errmsg(database), code);
    if ((code & 0xFF) == SQLITE_IOERR && system_code != 0) {
        why += ": " + std::system_category().message(system_code);
    }
    throw SqliteFailure{code, why};
}

Statement::Statement(sqlite3* database, std::string_view sql) : database_{database} {
    if (sqlite3_prepare_v3(
            database, sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT, &statement_, nullptr) !=
        SQLITE_OK) {
        raise_store_down(database, "prepare a statement");
    }
}

Statement::~Statement() {
    sqlite3_finalize(statement_);
}

void Statement::bind(int index, std::string_view text) {
    // An empty view may have no address at all, which SQLite would take for NULL.
    const char* data = text.empty() ? "" : text.data();
    if (sqlite3_bind_text64(statement_, index, data, text.size(), SQLITE_STATIC, SQLITE_UTF8) != SQLITE_OK) {
        raise_store_down(database_, "bind a text");
    }
}

void Statement::bind(int index, std::int64_t number) {
    if (sqlite3_bind_int64(statement_, index, number) != SQLITE_OK) {
        raise_store_down(database_, "bind a number");
    }
}

bool Statement::step() {
    switch (sqlite3_step(statement_)) {
    case SQLITE_ROW:
        return true;
    case SQLITE_DONE:
        return false;
    default:
        raise_store_down(database_, "run a statement");
    }
}

std::string Statement::text(int column) const {
    const unsigned char* data = sqlite3_column_text(statement_, column);
    const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement_, column));
    return data == nullptr ? std::string{} : std::string{reinterpret_cast<const char*>(data), size};
}

std::int64_t Statement::integer(int column) const {
    return sqlite3_column_int64(statement_, column);
}

void Statement::reset() noexcept {
    // Its result repeats the failure that step() has raised already.
    sqlite3_reset(statement_);
    sqlite3_clear_bindings(statement_);
}

void CloseDatabase::operator()(sqlite3* database) const noexcept {
    sqlite3_close_v2(database);
}

Database open_database(const std::filesystem::path& path) {
    sqlite3* raw = nullptr;
    // The store's own mutex serialises the connection, so SQLite needs none.
    const int code =
        sqlite3_open_v2(path.c_str(), &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
    Database database{raw};
    if (!database) {
        throw StoreDown{"the store has no memory to open its database"};
    }
    if (code != SQLITE_OK) {
        raise_store_down(database.get(), "open " + path.string());
    }
    sqlite3_extended_result_codes(database.get(), 1);
    return database;
}

void execute(sqlite3* database, const std::string& sql) {
    if (sqlite3_exec(database, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) {
        raise_store_down(database, "run \"" + sql.substr(0, sql.find('\n')) + "\"");
    }
}

std::int64_t pragma(sqlite3* database, const std::string& name) {
    Statement statement{database, "PRAGMA " + name};
    return statement.step() ? statement.integer(0) : 0;
}

} // namespace muster::store
