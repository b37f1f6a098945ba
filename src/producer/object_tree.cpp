#include "producer/object_tree.h"

#include "base/assert.h"
#include "producer/outbox.h"

#include <algorithm>
#include <utility>

namespace muster::producer {
namespace {

constexpr auto object_kind = "object";

std::string body_of(const nrm::Object& object) {
    return nrm::Json{{"attributes", object.attributes}}.dump();
}

Write write_of(const nrm::Dn& dn, const std::optional<nrm::Object>& now, const nrm::Object* before) {
    return {.kind = object_kind,
            .key = dn.text(),
            .body = now ? std::optional{body_of(*now)} : std::nullopt,
            .expected = before == nullptr ? 0 : before->version};
}

} // namespace

const nrm::Object* Transaction::find(const nrm::Dn& dn) const {
    if (const auto staged = staged_.find(dn); staged != staged_.end()) {
        return staged->second ? &*staged->second : nullptr;
    }
    const auto found = base_.find(dn);
    return found == base_.end() ? nullptr : &found->second;
}

std::vector<nrm::Dn> Transaction::below(const nrm::Dn& dn) const {
    std::vector<nrm::Dn> found;
    for (auto it = base_.upper_bound(dn); it != base_.end() && it->first.within(dn); ++it) {
        if (find(it->first) != nullptr) {
            found.push_back(it->first);
        }
    }
    for (const auto& [name, object] : staged_) {
        if (object && name != dn && name.within(dn) && !base_.contains(name)) {
            found.push_back(name);
        }
    }
    std::ranges::sort(found);
    return found;
}

void Transaction::create(const nrm::Dn& dn, nrm::Json attributes) {
    MUSTER_ASSERT(find(dn) == nullptr);
    MUSTER_ASSERT(dn.depth() == 1 || find(dn.parent()) != nullptr);
    const auto old = base_.find(dn); // removed and made again in one transaction: its version goes on
    const std::int64_t version = old == base_.end() ? 1 : old->second.version + 1;
    staged_.insert_or_assign(dn, nrm::Object{dn, std::move(attributes), version});
}

void Transaction::update(const nrm::Dn& dn, nrm::Json attributes) {
    const nrm::Object* current = find(dn);
    MUSTER_ASSERT(current != nullptr);
    if (current->attributes == attributes) {
        return;
    }
    const auto old = base_.find(dn);
    const std::int64_t version = old == base_.end() ? 1 : old->second.version + 1;
    staged_.insert_or_assign(dn, nrm::Object{dn, std::move(attributes), version});
}

void Transaction::put(const nrm::Dn& dn, nrm::Json attributes) {
    if (find(dn) == nullptr) {
        create(dn, std::move(attributes));
    } else {
        update(dn, std::move(attributes));
    }
}

void Transaction::set(const nrm::Dn& dn, const nrm::Json& changes) {
    const nrm::Object* current = find(dn);
    MUSTER_ASSERT(current != nullptr);
    nrm::Json attributes = current->attributes;
    for (const auto& [name, value] : changes.items()) {
        if (value.is_null()) {
            attributes.erase(name);
        } else {
            attributes[name] = value;
        }
    }
    update(dn, std::move(attributes));
}

void Transaction::remove(const nrm::Dn& dn) {
    for (const nrm::Dn& child : below(dn)) {
        staged_.insert_or_assign(child, std::nullopt);
    }
    if (find(dn) != nullptr) {
        staged_.insert_or_assign(dn, std::nullopt);
    }
}

Changes Transaction::changes() const {
    Changes forward;
    Changes deleted;
    for (const auto& [dn, now] : staged_) {
        const auto before = base_.find(dn);
        if (before == base_.end()) {
            if (now) {
                forward.push_back({ChangeKind::created, dn, nullptr, now->attributes});
            }
        } else if (!now) {
            deleted.push_back({ChangeKind::deleted, dn, before->second.attributes, nullptr});
        } else if (now->attributes != before->second.attributes) {
            forward.push_back({ChangeKind::changed, dn, before->second.attributes, now->attributes});
        }
    }
    std::ranges::move(deleted.rbegin(), deleted.rend(), std::back_inserter(forward));
    return forward;
}

Result<void> ObjectTree::load() {
    const std::scoped_lock writers{writing_};
    nrm::Objects loaded;
    for (const Record& record : store_.list(object_kind)) {
        auto dn = nrm::Dn::parse(record.key);
        const nrm::Json body = nrm::Json::parse(record.body, nullptr, false);
        if (!dn || body.is_discarded() || !body.contains("attributes")) {
            return Error{ErrorCode::unavailable, "the stored object \"" + record.key + "\" cannot be read"};
        }
        loaded.insert_or_assign(*dn, nrm::Object{*dn, body["attributes"], record.version});
    }
    const std::scoped_lock readers{reading_};
    objects_ = std::move(loaded);
    return {};
}

Result<void> ObjectTree::transact(Origin origin, const std::function<Result<void>(Transaction&)>& action) {
    const std::scoped_lock writers{writing_};
    Transaction transaction{objects_, origin};
    if (auto done = action(transaction); !done) {
        return done;
    }
    const Changes changes = transaction.changes();
    std::vector<Write> writes = std::move(transaction.records_);
    for (const Change& change : changes) {
        const auto before = objects_.find(change.dn);
        writes.push_back(write_of(
            change.dn, transaction.staged_.at(change.dn), before == objects_.end() ? nullptr : &before->second));
    }
    auto notifications = outbox_.stage(changes, objects_, origin, clock_.wall_now());
    std::ranges::copy(notifications.writes, std::back_inserter(writes));
    if (writes.empty()) {
        return {};
    }
    if (auto done = store_.commit(writes); !done) {
        return done;
    }
    {
        const std::scoped_lock readers{reading_};
        for (const Change& change : changes) {
            if (auto& now = transaction.staged_.at(change.dn)) {
                objects_.insert_or_assign(change.dn, std::move(*now));
            } else {
                objects_.erase(change.dn);
            }
        }
    }
    outbox_.committed(std::move(notifications));
    return {};
}

std::optional<nrm::Object> ObjectTree::find(const nrm::Dn& dn) const {
    const std::scoped_lock readers{reading_};
    const auto found = objects_.find(dn);
    return found == objects_.end() ? std::nullopt : std::optional{found->second};
}

Result<std::vector<nrm::Object>> ObjectTree::read(const nrm::Dn& base, const nrm::Scope& scope) const {
    const std::scoped_lock readers{reading_};
    if (!objects_.contains(base)) {
        return Error{ErrorCode::not_found, "there is no object \"" + base.text() + "\""};
    }
    std::vector<nrm::Object> found;
    for (const nrm::Object* object : nrm::select(objects_, base, scope)) {
        found.push_back(*object);
    }
    return found;
}

std::size_t ObjectTree::size() const {
    const std::scoped_lock readers{reading_};
    return objects_.size();
}

} // namespace muster::producer
