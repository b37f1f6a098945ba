/// Notifications of changes to managed objects: who has subscribed, and what is sent.
/// Source: TS 28.532 11.1.2, TS28532_ProvMnS.yaml (NotifyMoiCreation and others), TS28623_SubscriptionControlNrm.yaml.
#pragma once

#include "base/clock.h"
#include "nrm/tree.h"
#include "producer/changes.h"

#include <cstdint>
#include <string>
#include <vector>

namespace muster::producer {

/// One NtfSubscriptionControl, read.
struct Subscription {
    std::string dn;        ///< of the NtfSubscriptionControl
    std::string recipient; ///< https address
    nrm::Dn base;          ///< its parent: scope counts from here
    nrm::Scope scope{};
    std::vector<std::string> types{}; ///< empty: all
};

/// Returns the subscriptions among `objects`.
[[nodiscard]] std::vector<Subscription> subscriptions_of(const nrm::Objects& objects);

/// notifyMOICreation, notifyMOIDeletion or notifyMOIAttributeValueChanges.
[[nodiscard]] const char* type_of(ChangeKind kind);

/// Says whether the subscription wants to hear of the change; a change of attributes that are not notifyable is not
/// news.
[[nodiscard]] bool wants(const Subscription& subscription, const Change& change);

/// The fields of NotificationHeader that do not follow from the change.
struct NotificationHeader {
    std::int64_t id{};
    std::int64_t sequence{}; ///< counts the notifications of one subscription, from 1
    WallTime time{};
    std::string system_dn{};
    std::string subscription{};
    Origin origin{Origin::producer};
};

/// The body to be POSTed.
[[nodiscard]] nrm::Json notification_body(const Change& change, const NotificationHeader& header);

} // namespace muster::producer
