/// MLModelRepository, MLModel. Source: TS28105_AiMlNrm.yaml 19.5.0, TS 28.105 V19.6.0 clause 7.3a.1.
#include "nrm/tables/types.h"

namespace muster::nrm::tables {
namespace {

/// Read-only members in the YAML, although stage 2 lets a consumer write expectedRunTimeContext; stage 2 is followed.
constexpr std::array ml_context{
    Attribute{.name = "inferenceEntityRef", .type = dn, .list = true, .unique = true},
    Attribute{.name = "dataProviderRef", .type = dn, .list = true, .unique = true},
};
constexpr std::array supported_perf_indicator{
    Attribute{.name = "performanceIndicatorName"},
    Attribute{.name = "isSupportedForTraining", .type = boolean, .default_json = "false"},
    Attribute{.name = "isSupportedForTesting", .type = boolean, .default_json = "false"},
};
constexpr std::array ml_capability_info{
    Attribute{.name = "aIMLInferenceName"},
    Attribute{.name = "capabilityName"},
    Attribute{.name = "mLCapabilityParameters", .type = map},
};

constexpr std::array ml_model{
    Attribute{.name = "mLModelId", .lower = 1},
    Attribute{.name = "aIMLInferenceName"},
    Attribute{.name = "mLModelVersion", .lower = 1},
    Attribute{.name = "expectedRunTimeContext", .type = structure, .writable = true, .members = ml_context},
    Attribute{.name = "trainingContext", .type = structure, .members = ml_context},
    Attribute{.name = "runTimeContext", .type = structure, .members = ml_context},
    Attribute{.name = "supportedPerformanceIndicators",
              .type = structure,
              .list = true,
              .unique = true,
              .members = supported_perf_indicator,
              .items_min = 1},
    Attribute{.name = "mLCapabilitiesInfoList",
              .type = structure,
              .list = true,
              .unique = true,
              .lower = 1,
              .members = ml_capability_info,
              .items_min = 1},
    Attribute{.name = "mLTrainingType", .type = enumeration, .lower = 1, .values = training_types},
    Attribute{.name = "inferenceScope", .list = true},
    Attribute{.name = "retrainingEventsMonitorRef", .type = dn, .writable = true},
    Attribute{.name = "sourceTrainedMLModelRef", .type = dn},
    Attribute{.name = "aIMLInferenceReportRefList", .type = dn, .list = true, .unique = true},
    Attribute{.name = "usedByFunctionRefList", .type = dn, .list = true, .unique = true},
};

constexpr std::array<std::string_view, 2> network_and_element{"SubNetwork", "ManagedElement"};
constexpr std::array<std::string_view, 1> below_repository{"MLModelRepository"};

constexpr std::array rows{
    ClassRow{.name = "MLModelRepository", .attributes = {}, .parents = network_and_element},
    ClassRow{.name = "MLModel", .attributes = ml_model, .parents = below_repository, .consumer_deletes = true},
};

} // namespace

std::span<const ClassRow> model_classes() {
    return rows;
}

} // namespace muster::nrm::tables
