/// MLTrainingFunction, MLTrainingRequest, MLTrainingProcess, MLTrainingReport. Source: TS28105_AiMlNrm.yaml 19.5.0;
/// what may be written and what is required: TS 28.105 V19.6.0 clause 7.3a.1.
#include "nrm/tables/types.h"

namespace muster::nrm::tables {
namespace {

constexpr std::array vnf_parameters{
    Attribute{.name = "vnfInstanceId"},
    Attribute{.name = "vnfdId"},
    Attribute{.name = "flavourId"},
    Attribute{.name = "autoScalable", .type = boolean, .default_json = "false"},
};
constexpr std::array pee_parameters{
    Attribute{.name = "siteIdentification"},
    Attribute{.name = "siteLatitude", .type = real, .minimum = -90, .maximum = 90},
    Attribute{.name = "siteLongitude", .type = real, .minimum = -180, .maximum = 180},
    Attribute{.name = "siteAltitude", .type = real},
    Attribute{.name = "siteDescription"},
    Attribute{.name = "equipmentType"},
    Attribute{.name = "environmentType"},
    Attribute{.name = "powerInterface"},
};
constexpr std::array supported_learning_technology{
    Attribute{.name = "learningTechnologyName",
              .type = enumeration,
              .list = true,
              .unique = true,
              .lower = 1,
              .values = learning_technologies},
    Attribute{
        .name = "supportedRLEnvironment", .type = enumeration, .list = true, .unique = true, .values = rl_environments},
    Attribute{.name = "supportedFLRole",
              .type = enumeration,
              .list = true,
              .unique = true,
              .values = fl_roles,
              .items_min = 1,
              .items_max = 2},
    Attribute{.name = "supportedInferenceNameList", .list = true, .unique = true, .items_min = 1},
};
constexpr std::array fl_participation_info{
    Attribute{.name = "fLRole", .type = enumeration, .values = fl_roles},
    Attribute{.name = "isAvailableForFLTraining", .type = boolean, .default_json = "false"},
    Attribute{.name = "candidateFLClientRefList", .type = dn, .list = true, .unique = true},
};
constexpr std::array<std::string_view, 3> knowledge_types{"TABLE", "STATISTIC", "REGRESSION"};
constexpr std::array ml_knowledge{
    Attribute{.name = "mLKnowledgeName"},
    Attribute{.name = "knowledgeType", .type = enumeration, .values = knowledge_types},
    // Pairs of strings: a list in a list, which this table does not describe further.
    Attribute{.name = "predictorResponseArray", .type = any, .list = true, .unique = true},
};

/// The first six come from ManagedFunction.
constexpr std::array training_function{
    Attribute{.name = "userLabel", .writable = true},
    Attribute{.name = "vnfParametersList", .type = structure, .list = true, .unique = true, .members = vnf_parameters},
    Attribute{.name = "peeParametersList", .type = structure, .list = true, .unique = true, .members = pee_parameters},
    Attribute{.name = "priorityLabel", .type = integer, .writable = true},
    Attribute{.name = "supportedPerfMetricGroups",
              .type = structure,
              .list = true,
              .unique = true,
              .members = supported_perf_metric_group},
    Attribute{.name = "supportedTraceMetrics", .list = true, .unique = true},
    Attribute{
        .name = "supportedLearningTechnology", .type = structure, .lower = 1, .members = supported_learning_technology},
    Attribute{.name = "fLParticipationInfo", .type = structure, .members = fl_participation_info},
    Attribute{.name = "mLKnowledge", .type = structure, .members = ml_knowledge},
    Attribute{.name = "mLTrainingType", .type = enumeration, .lower = 1, .values = training_types},
    Attribute{.name = "mLModelRepositoryRef", .type = dn, .lower = 1},
};

constexpr std::array fl_client_selection_criteria{
    Attribute{.name = "minimumAvailableDataSamples", .type = integer, .lower = 1},
    Attribute{.name = "minimumAvailableTimeDuration", .type = integer, .lower = 1},
    Attribute{.name = "minimumInterimModelPerformance",
              .type = structure,
              .list = true,
              .unique = true,
              .members = model_performance},
    Attribute{.name = "servingGeoArea", .type = structure, .list = true, .unique = true, .members = geo_area},
    Attribute{.name = "clientRedundancy", .type = boolean},
    Attribute{.name = "trainingDataWithOrWithoutOutliers", .type = boolean, .default_json = "false"},
    Attribute{.name = "uniformlyDistributedTrainingData", .type = boolean, .default_json = "false"},
};
constexpr std::array fl_requirement{
    Attribute{.name = "fLClientSelectionCriteria",
              .type = structure,
              .list = true,
              .unique = true,
              .members = fl_client_selection_criteria,
              .items_min = 1},
};
constexpr std::array rl_requirement{
    Attribute{
        .name = "rLEnvironmentType", .type = enumeration, .list = true, .unique = true, .values = rl_environments},
    Attribute{.name = "rLEnvironmentScope",
              .type = structure,
              .list = true,
              .unique = true,
              .members = environment_scope,
              .items_min = 1},
    Attribute{.name = "rLImpactedScope",
              .type = structure,
              .list = true,
              .unique = true,
              .members = environment_scope,
              .items_min = 1},
    Attribute{.name = "rLPerformanceRequirements",
              .type = structure,
              .list = true,
              .unique = true,
              .members = threshold_info},
};
constexpr std::array distributed_training_expectation{
    Attribute{.name = "expectedTrainingTime", .type = integer}, // minutes
    Attribute{.name = "dataSplitIndication", .type = boolean, .default_json = "false"},
    Attribute{.name = "suggestedTrainingNodeList", .type = dn, .list = true, .unique = true},
};
constexpr std::array clustering_criteria{
    Attribute{.name = "performanceMetric"},
    Attribute{.name = "taskType", .lower = 1},
    Attribute{.name = "allowedClusterTrainingTime", .type = structure, .lower = 1, .members = time_window},
    Attribute{.name = "preferredModelDiversity"},
};

/// aIMLInferenceName, mLModelRef and others are required on conditions: request_rules.h.
constexpr std::array training_request{
    Attribute{.name = "aIMLInferenceName", .writable = true, .invariant = true},
    Attribute{.name = "fLRequirement", .type = structure, .writable = true, .members = fl_requirement},
    Attribute{.name = "candidateTrainingDataSource", .list = true, .unique = true, .writable = true},
    Attribute{.name = "trainingDataQualityScore", .type = real, .writable = true, .minimum = 0, .maximum = 100},
    Attribute{.name = "trainingRequestSource", .lower = 1, .writable = true}, // a DN or any text
    Attribute{
        .name = "requestStatus", .type = enumeration, .values = request_statuses, .default_json = "\"NOT_STARTED\""},
    Attribute{.name = "performanceRequirements",
              .type = structure,
              .list = true,
              .unique = true,
              .writable = true,
              .members = model_performance},
    Attribute{.name = "rLRequirement", .type = structure, .writable = true, .members = rl_requirement},
    Attribute{.name = "cancelRequest", .type = boolean, .writable = true, .default_json = "false"},
    Attribute{.name = "suspendRequest", .type = boolean, .writable = true, .default_json = "false"},
    Attribute{.name = "trainingDataStatisticalProperties",
              .type = structure,
              .writable = true,
              .members = data_statistical_properties},
    Attribute{.name = "distributedTrainingExpectation",
              .type = structure,
              .writable = true,
              .members = distributed_training_expectation},
    Attribute{.name = "mLKnowledgeName", .writable = true},
    Attribute{.name = "mLTrainingType", .type = enumeration, .lower = 1, .writable = true, .values = training_types},
    Attribute{.name = "expectedInferenceScope", .list = true, .unique = true, .writable = true},
    Attribute{.name = "clusteringInfo",
              .type = structure,
              .list = true,
              .unique = true,
              .writable = true,
              .members = clustering_criteria},
    Attribute{.name = "mLModelRef", .type = dn, .writable = true, .invariant = true},
    Attribute{.name = "mLModelCoordinationGroupRef", .type = dn, .writable = true, .invariant = true},
};

constexpr std::array training_process{
    Attribute{
        .name = "priority", .type = integer, .writable = true, .minimum = 0, .maximum = 65'535, .default_json = "0"},
    Attribute{.name = "terminationConditions", .writable = true},
    Attribute{.name = "progressStatus", .type = structure, .members = process_monitor},
    Attribute{.name = "cancelProcess", .type = boolean, .writable = true, .default_json = "false"},
    Attribute{.name = "suspendProcess", .type = boolean, .writable = true, .default_json = "false"},
    Attribute{.name = "trainingRequestRef", .type = dn, .list = true, .unique = true},
    Attribute{.name = "participatingFLClientRefList", .type = dn, .list = true, .unique = true},
    Attribute{.name = "trainingReportRef", .type = dn},
    Attribute{.name = "mLModelRef", .type = dn},
    Attribute{.name = "mLModelCoordinationGroupRef", .type = dn},
};

constexpr std::array fl_report_per_client{
    Attribute{.name = "clientRef", .type = dn},
    Attribute{.name = "numberOfDataSamplesUsed", .type = integer},
    Attribute{.name = "trainingTimeDuration", .type = structure, .members = time_window},
    Attribute{.name = "modelPerformanceOnClient", .type = structure, .list = true, .members = model_performance},
};
constexpr std::array training_report{
    Attribute{.name = "usedConsumerTrainingData", .list = true, .unique = true},
    Attribute{.name = "modelConfidenceIndication", .type = integer, .minimum = 0, .maximum = 100},
    Attribute{.name = "modelPerformanceTraining",
              .type = structure,
              .list = true,
              .unique = true,
              .members = model_performance},
    Attribute{.name = "modelPerformanceValidation",
              .type = structure,
              .list = true,
              .unique = true,
              .members = model_performance},
    Attribute{.name = "dataRatioTrainingAndValidation", .type = integer},
    Attribute{.name = "areNewTrainingDataUsed", .type = boolean, .lower = 1},
    Attribute{
        .name = "fLReportPerClient", .type = structure, .list = true, .unique = true, .members = fl_report_per_client},
    Attribute{.name = "trainingProcessRef", .type = dn, .lower = 1},
    Attribute{.name = "lastTrainingRef", .type = dn},
    Attribute{.name = "mLModelGeneratedRef", .type = dn, .lower = 1},
    Attribute{.name = "mLModelCoordinationGroupGeneratedRef", .type = dn},
};

constexpr std::array<std::string_view, 2> network_and_element{"SubNetwork", "ManagedElement"};
constexpr std::array<std::string_view, 1> below_function{"MLTrainingFunction"};

constexpr std::array rows{
    ClassRow{.name = "MLTrainingFunction", .attributes = training_function, .parents = network_and_element},
    ClassRow{.name = "MLTrainingRequest",
             .attributes = training_request,
             .parents = below_function,
             .consumer_creates = true,
             .consumer_deletes = true},
    ClassRow{.name = "MLTrainingProcess", .attributes = training_process, .parents = below_function},
    ClassRow{.name = "MLTrainingReport", .attributes = training_report, .parents = below_function},
};

} // namespace

std::span<const ClassRow> training_classes() {
    return rows;
}

} // namespace muster::nrm::tables
