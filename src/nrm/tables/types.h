/// Structured types and enumerations that several classes share. Source: TS28105_AiMlNrm.yaml 19.5.0,
/// TS28623_ComDefs.yaml 19.6.0, TS28623_GenericNrm.yaml 19.7.0, TS28623_ThresholdMonitorNrm.yaml 19.2.0.
#pragma once

#include "nrm/class_table.h"

#include <array>
#include <string_view>

namespace muster::nrm::tables {

using enum AttributeType;

inline constexpr std::array<std::string_view, 4> training_types{
    "INITIAL_TRAINING", "PRE_SPECIALISED_TRAINING", "RE_TRAINING", "FINE_TUNING"};
inline constexpr std::array<std::string_view, 6> request_statuses{
    "NOT_STARTED", "IN_PROGRESS", "SUSPENDED", "FINISHED", "CANCELLED", "CANCELLING"};
inline constexpr std::array<std::string_view, 3> learning_technologies{"RL", "FL", "DL"};
inline constexpr std::array<std::string_view, 2> rl_environments{"SIMULATION_ENVIRONMENTS",
                                                                 "REAL_NETWORK_ENVIRONMENTS"};
inline constexpr std::array<std::string_view, 2> fl_roles{"FL_SERVER", "FL_CLIENT"};
inline constexpr std::array<std::string_view, 3> threshold_directions{"UP", "DOWN", "UP_AND_DOWN"};

/// One rule of TS 28.105: performanceScore is 0..100 only for metrics in percent; request_rules.h knows which.
inline constexpr std::array model_performance{
    Attribute{.name = "inferenceOutputName"},
    Attribute{.name = "performanceMetric"},
    Attribute{.name = "performanceScore", .type = real},
    Attribute{.name = "decisionConfidenceScore", .type = real},
};

inline constexpr std::array time_window{
    Attribute{.name = "startTime", .type = date_time},
    Attribute{.name = "endTime", .type = date_time},
};

inline constexpr std::array geo_coordinate{
    Attribute{.name = "latitude", .type = real, .minimum = -90, .maximum = 90},
    Attribute{.name = "longitude", .type = real, .minimum = -180, .maximum = 180},
    Attribute{.name = "altitude", .type = real},
};
inline constexpr std::array geo_circle{
    Attribute{.name = "referenceLocation", .type = structure, .members = geo_coordinate},
    Attribute{.name = "distanceRadius", .type = integer, .minimum = 1, .maximum = 65'535},
};
/// A choice: geoPolygon or geoCircle.
inline constexpr std::array geo_area{
    Attribute{.name = "geoPolygon", .type = structure, .list = true, .members = geo_coordinate, .items_min = 1},
    Attribute{.name = "geoCircle", .type = structure, .members = geo_circle},
};

/// A choice: managedEntitiesScope, areaScope or timeWindow.
inline constexpr std::array environment_scope{
    Attribute{.name = "managedEntitiesScope", .type = dn, .list = true, .unique = true},
    Attribute{.name = "areaScope", .type = structure, .members = geo_area},
    Attribute{.name = "timeWindow", .type = structure, .members = time_window},
};

inline constexpr std::array threshold_info{
    Attribute{.name = "performanceMetrics", .list = true, .unique = true, .items_min = 1},
    Attribute{.name = "thresholdDirection", .type = enumeration, .values = threshold_directions},
    Attribute{.name = "thresholdValue", .type = real},
    Attribute{.name = "hysteresis", .type = real},
};

/// TS 28.105 ProcessMonitor; `status` is free text in the YAML, the producer writes the states of 7.5.1.
inline constexpr std::array process_monitor{
    Attribute{.name = "status"},
    Attribute{.name = "progressPercentage", .type = integer, .minimum = 0, .maximum = 100},
    Attribute{.name = "progressStateInfo"},
    Attribute{.name = "resultStateInfo"},
};

inline constexpr std::array data_statistical_properties{
    Attribute{.name = "uniformlyDistributedTrainingData", .type = boolean, .default_json = "false"},
    Attribute{.name = "trainingDataWithOrWithoutOutliers", .type = boolean, .default_json = "false"},
};

inline constexpr std::array<std::string_view, 3> reporting_methods{
    "FILE_BASED_LOC_SET_BY_PRODUCER", "FILE_BASED_LOC_SET_BY_CONSUMER", "STREAM_BASED"};
inline constexpr std::array supported_perf_metric_group{
    Attribute{.name = "performanceMetrics", .list = true, .unique = true, .items_min = 1},
    Attribute{.name = "granularityPeriods", .type = integer, .list = true, .unique = true, .minimum = 1},
    Attribute{
        .name = "reportingMethods", .type = enumeration, .list = true, .unique = true, .values = reporting_methods},
    Attribute{.name = "reportingPeriods", .type = integer, .list = true, .unique = true, .minimum = 1},
};

/// The classes of one family, for classes().
[[nodiscard]] std::span<const ClassRow> generic_classes();
[[nodiscard]] std::span<const ClassRow> training_classes();
[[nodiscard]] std::span<const ClassRow> model_classes();
[[nodiscard]] std::span<const ClassRow> subscription_classes();

} // namespace muster::nrm::tables
