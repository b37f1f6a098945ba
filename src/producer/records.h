/// The attributes of the objects that the producer itself makes: standard ones, and the vendor containers
/// (VsDataContainer, api/containers.md) for what the standard has no attribute for.
#pragma once

#include "model/messages.h"
#include "model/plan.h"
#include "nrm/validate.h"
#include "producer/job.h"
#include "producer/request_rules.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace muster::producer {

struct FunctionState;

/// {vsDataType: "muster:<type>", vsDataFormatVersion: "1", vsData: data}
[[nodiscard]] nrm::Json container(const std::string& type, nrm::Json data);

/// MLTrainingFunction. Source: TS 28.105 7.3a.1.2.1.
[[nodiscard]] nrm::Json function_attributes(const std::vector<std::string>& inference_names,
                                            const std::string& repository);
/// VsDataContainer=capacity of a function.
[[nodiscard]] nrm::Json capacity_record(const FunctionState& state);
/// Reads back what capacity_record wrote, for a function that is not connected yet.
void restore_capacity(const nrm::Json& attributes, FunctionState& state);

/// MLTrainingProcess at the start of evaluation. Source: 7.3a.1.2.4.
[[nodiscard]] nrm::Json process_attributes(const Job& job, int priority, const std::string& model);
/// progressStatus. `percentage` < 0: left out.
[[nodiscard]] nrm::Json
progress_status(const std::string& status, int percentage, const std::string& state, const std::string& result);
/// MLModel, without its artefact. Source: 7.3a.2.2.1.
[[nodiscard]] nrm::Json model_attributes(const Job& job);
/// VsDataContainer=artefact of a model.
[[nodiscard]] nrm::Json artefact_record(const Job& job, const Done& done, const std::string& public_url);

/// The chosen candidate of the job's plan as JSON; an empty object without a plan.
[[nodiscard]] nrm::Json chosen_of(const Job& job);

/// What the decision record needs beside the job.
struct Decided {
    std::optional<bool> split_indication{};         ///< as the request said it
    bool split_allowed{};                           ///< after the operator's default
    std::vector<std::string> ignored_suggestions{}; ///< named nodes that stand for no function
};
/// VsDataContainer=decision of a process: the plan, who was not asked or has refused, what was ignored.
[[nodiscard]] nrm::Json decision_record(const Job& job, const Decided& decided);
/// VsDataContainer=agreement of a process: what was agreed and every signature.
[[nodiscard]] nrm::Json agreement_record(const Job& job);
/// VsDataContainer=progress of a process.
[[nodiscard]] nrm::Json
progress_record(const Job& job, const std::map<std::string, Progress>& members, std::int64_t now_ms);

/// MLTrainingReport. Source: 7.3a.1.2.3.
[[nodiscard]] nrm::Json
report_attributes(const Job& job, const Wish& wish, const Done& first, const std::string& model);
/// VsDataContainer=participants of a report: parts, waits, predicted and measured, baselines, timings.
[[nodiscard]] nrm::Json participants_record(const Job& job, const Done& first);

/// The scores of `model` on `rows` ("training", "validation", "test"), or none.
[[nodiscard]] std::vector<Score> scores_of(const Done& done, const std::string& model, const std::string& rows);

} // namespace muster::producer
