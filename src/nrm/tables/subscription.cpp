/// NtfSubscriptionControl. Source: TS28623_SubscriptionControlNrm.yaml 19.4.0, TS 28.622.
#include "nrm/tables/types.h"

namespace muster::nrm::tables {
namespace {

/// TS 28.532, TS 28.111; the last three are from TS28532_PerfMnS.yaml and TS28532_FileDataReportingMnS.yaml.
constexpr std::array<std::string_view, 19> notification_types{
    "notifyMOICreation",
    "notifyMOIDeletion",
    "notifyMOIAttributeValueChanges",
    "notifyEvent",
    "notifyMOIChanges",
    "notifyPotentialFaultyDataNodeTree",
    "notifyDataNodeTreeSyncRecommended",
    "notifyNewAlarm",
    "notifyChangedAlarmGeneral",
    "notifyAckStateChanged",
    "notifyCorrelatedNotificationChanged",
    "notifyComments",
    "notifyClearedAlarm",
    "notifyAlarmListRebuilt",
    "notifyPotentialFaultyAlarmList",
    "notifyHeartbeat",
    "notifyThresholdCrossing",
    "notifyFileReady",
    "notifyFilePreparationError",
};
constexpr std::array<std::string_view, 4> scope_types{"BASE_ONLY", "BASE_ALL", "BASE_NTH_LEVEL", "BASE_SUBTREE"};

/// A choice: scopeType with scopeLevel, or dataNodeSelector.
constexpr std::array scope{
    Attribute{.name = "scopeType", .type = enumeration, .values = scope_types},
    Attribute{.name = "scopeLevel", .type = integer, .minimum = 0},
    Attribute{.name = "dataNodeSelector"},
};

constexpr std::array subscription{
    Attribute{.name = "notificationRecipientAddress", .lower = 1, .writable = true},
    Attribute{.name = "notificationTypes",
              .type = enumeration,
              .list = true,
              .unique = true,
              .writable = true,
              .values = notification_types},
    Attribute{.name = "scope", .type = structure, .writable = true, .members = scope},
    Attribute{.name = "notificationFilter", .writable = true},
};

constexpr std::array<std::string_view, 2> network_and_element{"SubNetwork", "ManagedElement"};

constexpr std::array rows{
    ClassRow{.name = "NtfSubscriptionControl",
             .attributes = subscription,
             .parents = network_and_element,
             .consumer_creates = true,
             .consumer_deletes = true},
};

} // namespace

std::span<const ClassRow> subscription_classes() {
    return rows;
}

} // namespace muster::nrm::tables
