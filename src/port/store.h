/// The store: everything the producer must not forget, as versioned records.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace muster {

/// Raised when the store cannot write or read (disk full, database gone). Nothing of the transaction was kept.
class StoreDown : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/// One record. `kind` is a table of ours ("object", "job", "recipe", "calibration", "token", "tombstone",
/// "outbox", "meta"), `key` is unique within it, `body` is JSON text.
struct Record {
    std::string kind;
    std::string key;
    std::string body;
    std::int64_t version{}; ///< 1 when created, one more with each write

    bool operator==(const Record&) const = default;
};

/// One change of a transaction.
struct Write {
    std::string kind;
    std::string key;
    std::optional<std::string> body;        ///< absent: delete
    std::optional<std::int64_t> expected{}; ///< version it must have now; 0: must not exist; absent: whatever
};

/// Keeps records. Safe from any thread. Within one commit each write sees those
/// before it. store/sqlite and port/fake/memory_store.h both pass store/store_contract_test.cpp.
class Store {
public:
    virtual ~Store() = default;
    /// Throws StoreDown.
    [[nodiscard]] virtual std::optional<Record> read(const std::string& kind, const std::string& key) = 0;
    /// Returns the records of a kind whose key starts with `prefix`, in key order. Throws StoreDown.
    [[nodiscard]] virtual std::vector<Record> list(const std::string& kind, const std::string& prefix = "") = 0;
    /// Applies all writes or none, durable when it returns.
    /// Errors: conflict, when a record does not have the expected version. Throws StoreDown.
    [[nodiscard]] virtual Result<void> commit(std::span<const Write> writes) = 0;
};

} // namespace muster
