/// The managed objects in memory, written through to the store, and the transactions that change them.
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "nrm/dn.h"
#include "nrm/tree.h"
#include "port/store.h"
#include "producer/changes.h"

#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace muster::producer {

class Outbox;

/// What one transaction sees and stages. Lives only inside ObjectTree::transact.
class Transaction {
public:
    Transaction(const nrm::Objects& base, Origin origin) : base_{base}, origin_{origin} {}

    /// The object as this transaction sees it, or nullptr. Valid until the next change of it.
    [[nodiscard]] const nrm::Object* find(const nrm::Dn& dn) const;
    /// Everything below `dn` (not itself), parents first.
    [[nodiscard]] std::vector<nrm::Dn> below(const nrm::Dn& dn) const;
    /// REQUIRES: there is no object `dn`, and there is one at its parent (or `dn` is a root).
    void create(const nrm::Dn& dn, nrm::Json attributes);
    /// Replaces all attributes; no effect when they are equal. REQUIRES: find(dn)
    void update(const nrm::Dn& dn, nrm::Json attributes);
    /// Creates the object or replaces its attributes.
    void put(const nrm::Dn& dn, nrm::Json attributes);
    /// Sets the members of `changes`; a null removes the attribute. REQUIRES: find(dn)
    void set(const nrm::Dn& dn, const nrm::Json& changes);
    /// Removes the object and everything below it; no effect when there is none.
    void remove(const nrm::Dn& dn);
    /// Adds a record of another kind to the same commit.
    void write(Write record) { records_.push_back(std::move(record)); }

private:
    friend class ObjectTree;
    [[nodiscard]] Changes changes() const;

    const nrm::Objects& base_;
    Origin origin_;
    std::map<nrm::Dn, std::optional<nrm::Object>> staged_{}; ///< absent value: removed
    std::vector<Write> records_{};
};

/// Owns the managed objects. Safe from any thread: writers follow one another and wait for the store, readers never
/// wait for it. Each change, its notifications and the records beside it are one commit of the store.
class ObjectTree {
public:
    ObjectTree(Store& store, Outbox& outbox, Clock& clock) : store_{store}, outbox_{outbox}, clock_{clock} {}

    /// Reads all objects. Errors: unavailable, for a record that cannot be read. Throws StoreDown.
    [[nodiscard]] Result<void> load();

    /// Runs `action`; when it succeeds, commits what it staged. Nothing is kept when it refuses or the store does.
    /// Do not call transact inside. Errors: those of `action`; conflict of a record's version. Throws StoreDown.
    [[nodiscard]] Result<void> transact(Origin origin, const std::function<Result<void>(Transaction&)>& action);

    /// A copy of one object.
    [[nodiscard]] std::optional<nrm::Object> find(const nrm::Dn& dn) const;
    /// Copies of the selected objects, parents first. Errors: not_found.
    [[nodiscard]] Result<std::vector<nrm::Object>> read(const nrm::Dn& base, const nrm::Scope& scope) const;
    [[nodiscard]] std::size_t size() const;

private:
    Store& store_;
    Outbox& outbox_;
    Clock& clock_;
    std::mutex writing_{};         ///< one transaction at a time; objects_ changes only under both
    mutable std::mutex reading_{}; ///< held for as long as it takes to copy or swap objects
    nrm::Objects objects_{};
};

} // namespace muster::producer
