#include "producer/notifications.h"

#include "nrm/class_table.h"

#include <algorithm>

namespace muster::producer {
namespace {

bool notifyable(const nrm::ClassRow& row, const std::string& name) {
    const auto found = std::ranges::find(row.attributes, name, &nrm::Attribute::name);
    return found == row.attributes.end() || found->notifyable;
}

/// Changed notifyable attributes: new values and old ones; null where there is none.
std::pair<nrm::Json, nrm::Json> difference(const Change& change) {
    nrm::Json after = nrm::Json::object();
    nrm::Json before = nrm::Json::object();
    const auto row = nrm::class_of(change.dn.leaf().class_name);
    const auto note = [&](const std::string& name) {
        const nrm::Json now = change.after.value(name, nrm::Json{});
        const nrm::Json old = change.before.value(name, nrm::Json{});
        if (now != old && (!row || notifyable(**row, name))) {
            after[name] = now;
            before[name] = old;
        }
    };
    for (const auto& [name, value] : change.after.items()) {
        note(name);
    }
    for (const auto& [name, value] : change.before.items()) {
        note(name);
    }
    return {after, before};
}

} // namespace

std::vector<Subscription> subscriptions_of(const nrm::Objects& objects) {
    std::vector<Subscription> found;
    for (const auto& [dn, object] : objects) {
        if (dn.leaf().class_name != "NtfSubscriptionControl" || dn.depth() < 2) {
            continue;
        }
        const nrm::Json& attributes = object.attributes;
        Subscription subscription{
            .dn = dn.text(), .recipient = attributes.value("notificationRecipientAddress", ""), .base = dn.parent()};
        subscription.scope = {.type = nrm::ScopeType::base_all};
        if (attributes.contains("scope")) {
            auto scope = nrm::scope_of(attributes["scope"]);
            if (!scope) {
                continue; // refused at creation; nothing matches it
            }
            subscription.scope = *scope;
        }
        subscription.types = attributes.value("notificationTypes", std::vector<std::string>{});
        found.push_back(std::move(subscription));
    }
    return found;
}

const char* type_of(ChangeKind kind) {
    switch (kind) {
    case ChangeKind::created:
        return "notifyMOICreation";
    case ChangeKind::deleted:
        return "notifyMOIDeletion";
    case ChangeKind::changed:
        return "notifyMOIAttributeValueChanges";
    }
    return "";
}

bool wants(const Subscription& subscription, const Change& change) {
    const bool type = subscription.types.empty() ||
                      std::ranges::find(subscription.types, type_of(change.kind)) != subscription.types.end();
    if (!type || !nrm::selects(subscription.scope, subscription.base, change.dn)) {
        return false;
    }
    return change.kind != ChangeKind::changed || !difference(change).first.empty();
}

nrm::Json notification_body(const Change& change, const NotificationHeader& header) {
    nrm::Json body{
        {"href", "/" + change.dn.path()},
        {"notificationId", header.id},
        {"notificationType", type_of(change.kind)},
        {"eventTime", rfc3339(header.time)},
        {"systemDN", header.system_dn},
        {"sequenceNo", header.sequence},
        {"subscriptionId", header.subscription},
        {"sourceIndicator", header.origin == Origin::consumer ? "MANAGEMENT_OPERATION" : "RESOURCE_OPERATION"}};
    if (change.kind == ChangeKind::changed) {
        auto [after, before] = difference(change);
        body["attributeListValueChanges"] = nrm::Json::array({std::move(after), std::move(before)});
        return body;
    }
    const nrm::Json& attributes = change.kind == ChangeKind::created ? change.after : change.before;
    if (!attributes.empty()) { // the schema wants at least one
        body["attributeList"] = attributes;
    }
    return body;
}

} // namespace muster::producer
