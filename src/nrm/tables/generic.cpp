/// SubNetwork, ManagedElement, VsDataContainer. Source: TS28623_GenericNrm.yaml 19.7.0, TS 28.622.
#include "nrm/tables/types.h"

namespace muster::nrm::tables {
namespace {

constexpr std::array sub_network{
    Attribute{.name = "dnPrefix"},
    Attribute{.name = "userLabel", .writable = true},
    Attribute{.name = "userDefinedNetworkType"},
    Attribute{.name = "setOfMcc", .list = true, .unique = true, .items_min = 1},
    Attribute{.name = "priorityLabel", .type = integer},
    Attribute{.name = "supportedPerfMetricGroups",
              .type = structure,
              .list = true,
              .unique = true,
              .members = supported_perf_metric_group},
    Attribute{.name = "supportedTraceMetrics", .list = true, .unique = true},
};

constexpr std::array managed_element{
    Attribute{.name = "dnPrefix"},
    Attribute{.name = "managedElementTypeList", .list = true, .unique = true},
    Attribute{.name = "userLabel", .writable = true},
    Attribute{.name = "locationName"},
    Attribute{.name = "managedBy", .type = dn, .list = true, .unique = true},
    Attribute{.name = "vendorName"},
    Attribute{.name = "userDefinedState", .writable = true},
    Attribute{.name = "swVersion"},
    Attribute{.name = "priorityLabel", .type = integer, .writable = true},
    Attribute{.name = "supportedPerfMetricGroups",
              .type = structure,
              .list = true,
              .unique = true,
              .members = supported_perf_metric_group},
    Attribute{.name = "supportedTraceMetrics", .list = true, .unique = true},
};

/// vsDataType and vsDataFormatVersion are read-only in the YAML; whoever creates a container must be able to say what
/// is in it, so here they may be given at creation and never changed.
constexpr std::array vs_data_container{
    Attribute{.name = "vsDataType", .writable = true, .invariant = true},
    Attribute{.name = "vsDataFormatVersion", .writable = true, .invariant = true},
    Attribute{.name = "vsData", .type = any, .writable = true},
};

constexpr std::array<std::string_view, 2> below_root{"", "SubNetwork"};
constexpr std::array<std::string_view, 1> below_any{"*"};

constexpr std::array rows{
    ClassRow{.name = "SubNetwork", .attributes = sub_network, .parents = below_root},
    ClassRow{.name = "ManagedElement", .attributes = managed_element, .parents = below_root},
    ClassRow{.name = "VsDataContainer",
             .attributes = vs_data_container,
             .parents = below_any,
             .consumer_creates = true,
             .consumer_deletes = true},
};

} // namespace

std::span<const ClassRow> generic_classes() {
    return rows;
}

} // namespace muster::nrm::tables
