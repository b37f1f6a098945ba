#include "producer/records.h"

#include "base/clock.h"
#include "producer/fleet.h"
#include "wire/plan.h"
#include "wire/read_struct.h"
#include "wire/recipe.h"
#include "wire/structs.h"

#include <algorithm>
#include <chrono>

namespace muster::producer {
namespace {

using nrm::Json;

constexpr double milliseconds_per_second = 1'000.0;

Json time_of(std::int64_t ms) {
    return ms == 0 ? Json(nullptr) : Json(rfc3339(WallTime{std::chrono::milliseconds{ms}}));
}

double seconds_between(std::int64_t from_ms, std::int64_t to_ms) {
    return from_ms == 0 || to_ms == 0 ? 0.0 : static_cast<double>(to_ms - from_ms) / milliseconds_per_second;
}

/// ModelPerformance list. Source: TS 28.105 7.4.2.
Json performance(const std::vector<Score>& scores, const std::string& output) {
    Json list = Json::array();
    for (const Score& score : scores) {
        list.push_back(
            {{"inferenceOutputName", output}, {"performanceMetric", score.metric}, {"performanceScore", score.value}});
    }
    return list;
}

std::string output_of(const Job& job) {
    return job.recipe.at("data").value("target", "");
}

/// What was shipped, as the senders have it in writing from the receivers.
Json shipments_of(const Job& job) {
    Json list = Json::array();
    for (const JobMember& member : job.members) {
        const auto found = job.done.find(member.dn);
        for (const Shipment& shipment : found == job.done.end() ? std::vector<Shipment>{} : found->second.shipments) {
            if (shipment.from == member.dn) {
                list.push_back(shipment);
            }
        }
    }
    return list;
}

Json participants_of(const Job& job) {
    Json list = Json::array();
    std::int64_t rows = 0;
    for (const auto& [dn, done] : job.done) {
        rows += done.rows;
    }
    const Json planned = chosen_of(job).value("members", Json::array());
    std::size_t rank = 0;
    for (const JobMember& member : job.members) {
        Json entry{{"dn", member.dn}, {"rank", rank}, {"batch_rows", member.batch_rows}};
        entry["share"] = rank < planned.size() ? planned[rank].value("share", 0.0) : 0.0; // in the same order
        ++rank;
        if (member.state_share != 1.0) {
            entry["state_share"] = member.state_share;
        }
        if (!member.stage.whole()) {
            entry["blocks"] = {{"first", member.stage.first_block}, {"last", member.stage.end() - 1}};
        }
        if (const auto found = job.done.find(member.dn); found != job.done.end()) {
            const Done& done = found->second;
            entry["rows"] = done.rows;
            entry["rows_part"] = rows > 0 ? static_cast<double>(done.rows) / static_cast<double>(rows) : 0.0;
            entry["seconds"] = done.seconds;
            entry["compute_seconds"] = done.compute_seconds;
            entry["wait_seconds"] = done.wait_seconds;
            entry["bytes_sent"] = done.bytes_sent;
            entry["peak_memory_bytes"] = done.peak_memory_bytes;
            entry["state_bytes"] = done.state_bytes;
        }
        if (!member.rows_from.empty()) {
            entry["rows_from"] = member.rows_from;
        }
        list.push_back(std::move(entry));
    }
    return list;
}

} // namespace

Json chosen_of(const Job& job) {
    return job.plan.is_object() ? job.plan.at("candidates").at(job.plan.at("chosen").get<std::size_t>())
                                : Json::object();
}

Json container(const std::string& type, Json data) {
    return {{"vsDataType", "muster:" + type}, {"vsDataFormatVersion", "1"}, {"vsData", std::move(data)}};
}

Json function_attributes(const std::vector<std::string>& inference_names, const std::string& repository) {
    Json technology{{"learningTechnologyName", {"DL"}}};
    if (!inference_names.empty()) {
        technology["supportedInferenceNameList"] = inference_names;
    }
    return {{"supportedLearningTechnology", std::move(technology)},
            {"mLTrainingType", "INITIAL_TRAINING"},
            {"mLModelRepositoryRef", repository}};
}

Json capacity_record(const FunctionState& state) {
    Json sources = Json::array();
    for (const DataSource& source : state.sources) {
        sources.push_back(wire::to_json(source));
    }
    return container("capacity",
                     {{"connected", state.connected},
                      {"version", state.version},
                      {"capacity", wire::to_json(state.capacity)},
                      {"sources", std::move(sources)},
                      {"inference_names", state.inference_names}});
}

void restore_capacity(const Json& attributes, FunctionState& state) {
    const Json data = attributes.value("vsData", Json::object());
    state.version = data.value("version", "");
    if (auto capacity = wire::read_struct<Capacity>(data.value("capacity", Json{}), "capacity")) {
        state.capacity = *std::move(capacity);
    }
    if (auto sources = wire::read_struct<std::vector<DataSource>>(data.value("sources", Json{}), "sources")) {
        state.sources = *std::move(sources);
    }
    state.inference_names = data.value("inference_names", std::vector<std::string>{});
}

namespace {

std::string termination_of(const Json& recipe) {
    const auto epochs = recipe.find("epochs"); // boosted trees have none
    return epochs != recipe.end() ? "epochs=" + epochs->dump() : "trees=" + recipe.at("model").at("trees").dump();
}

} // namespace

Json process_attributes(const Job& job, int priority, const std::string& model) {
    return {{"priority", priority},
            {"terminationConditions", termination_of(job.recipe)},
            {"progressStatus", progress_status("NOT_STARTED", 0, std::string{name_of(Phase::evaluating)}, "")},
            {"cancelProcess", false},
            {"suspendProcess", false},
            {"trainingRequestRef", Json::array({job.request})},
            {"mLModelRef", model}};
}

Json progress_status(const std::string& status, int percentage, const std::string& state, const std::string& result) {
    Json progress{{"status", status}};
    if (percentage >= 0) {
        progress["progressPercentage"] = percentage;
    }
    if (!state.empty()) {
        progress["progressStateInfo"] = state;
    }
    if (!result.empty()) {
        progress["resultStateInfo"] = result;
    }
    return progress;
}

Json model_attributes(const Job& job) {
    return {{"mLModelId", job.id},
            {"aIMLInferenceName", job.inference},
            {"mLModelVersion", "1"},
            {"mLTrainingType", "INITIAL_TRAINING"},
            {"expectedRunTimeContext", Json::object()},
            {"mLCapabilitiesInfoList",
             Json::array({{{"aIMLInferenceName", job.inference}, {"capabilityName", output_of(job)}}})}};
}

Json artefact_record(const Job& job, const Done& done, const std::string& public_url) {
    Json inputs = Json::array();
    for (const InputColumn& input : done.preprocessing.inputs) {
        inputs.push_back({{"name", input.name}, {"kind", nlohmann::json(input.kind)}});
    }
    return container("artefact",
                     {{"uri", public_url + "/muster/v1/blobs/" + done.model_sha256},
                      {"sha256", done.model_sha256},
                      {"bytes", done.model_bytes},
                      {"format", "torchscript"},
                      {"inputs", std::move(inputs)},
                      {"target", done.preprocessing.target.name},
                      {"recipe", job.recipe.value("name", "") + "@" + job.recipe_digest}});
}

Json decision_record(const Job& job, const Decided& decided) {
    Json data{{"plan", job.plan}, {"attempt", job.attempt}, {"ignored_suggestions", decided.ignored_suggestions}};
    if (job.plan.is_object()) {
        const Json chosen = chosen_of(job);
        data["chosen"] = chosen.value("name", "");
        data["why"] = job.plan.value("why", "");
        data["predicted"] = {{"total_seconds", chosen.value("total_seconds", 0.0)},
                             {"step_seconds", chosen.value("step_seconds", 0.0)},
                             {"late_seconds", chosen.value("late_seconds", 0.0)},
                             {"wire_bytes_per_step", chosen.value("wire_bytes_per_step", std::int64_t{0})}};
    }
    data["data"] = {{"layout", name_of(job.layout)},
                    {"split_indication", decided.split_indication ? Json(*decided.split_indication) : Json()},
                    {"split_allowed", decided.split_allowed},
                    {"words", "no rows are dealt out: each function reads a whole copy that it holds itself"}};
    if (job.plan.is_object() && chosen_of(job).value("strategy", "") == "pipeline") {
        data["data"]["words"] =
            "the model is split: rows stay with the function that has its first stage, and pass through the others "
            "as the numbers that the stage before has made of them";
    }
    if (std::ranges::any_of(job.members, [](const JobMember& member) { return !member.rows_from.empty(); })) {
        data["data"]["words"] =
            "each function reads a whole copy of the rows: its own, or one that a holder ships to it "
            "for this job, which is deleted at its end";
    }
    if (job.layout == DataLayout::pinned) {
        data["data"]["words"] = "rows stay at the sites that own them: statistics and gradients leave, and no row";
        data["data"]["missing"] = job.missing;
    }
    Json excluded = Json::array();
    for (const auto& [dn, exclusion] : job.excluded) {
        excluded.push_back({{"dn", dn}, {"code", exclusion.code}, {"words", exclusion.words}});
    }
    for (const auto& [dn, words] : job.not_asked) {
        excluded.push_back({{"dn", dn}, {"code", "not_asked"}, {"words", words}});
    }
    data["excluded"] = std::move(excluded);
    return container("decision", std::move(data));
}

Json agreement_record(const Job& job) {
    Json signatures = Json::array();
    for (const JobMember& member : job.members) {
        if (const auto found = job.signatures.find(member.dn); found != job.signatures.end()) {
            signatures.push_back({{"dn", member.dn},
                                  {"signature", found->second.signature},
                                  {"certificate", found->second.certificate}});
        }
    }
    return container("agreement",
                     {{"generation", job.generation},
                      {"plan_digest", job.plan_digest},
                      {"agreement", job.agreement},
                      {"signatures", std::move(signatures)}});
}

Json progress_record(const Job& job, const std::map<std::string, Progress>& members, std::int64_t now_ms) {
    Json list = Json::array();
    Json data{{"time", time_of(now_ms)}, {"running_seconds", seconds_between(job.started_ms, now_ms)}};
    std::int64_t furthest = -1;
    double rows_per_second = 0.0;
    for (const JobMember& member : job.members) {
        const auto found = members.find(member.dn);
        if (found == members.end()) {
            list.push_back({{"dn", member.dn}});
            continue;
        }
        const Progress& progress = found->second;
        // All rows pass through each stage of a pipeline, at the same speed but for what is on its way.
        rows_per_second = member.stage.whole() ? rows_per_second + progress.rows_per_second
                                               : std::max(rows_per_second, progress.rows_per_second);
        list.push_back({{"dn", member.dn},
                        {"rows_per_second", progress.rows_per_second},
                        {"compute_seconds", progress.compute_seconds},
                        {"wait_seconds", progress.wait_seconds},
                        {"bytes_sent", progress.bytes_sent}});
        if (progress.rows_expected_bytes > 0) {
            list.back()["rows_arrived_bytes"] = progress.rows_arrived_bytes;
            list.back()["rows_expected_bytes"] = progress.rows_expected_bytes;
        }
        if (progress.step > furthest) {
            furthest = progress.step;
            data["step"] = progress.step;
            data["steps"] = progress.steps;
            data["epoch"] = progress.epoch;
            data["loss"] = progress.loss;
        }
        if (!progress.validation.empty()) {
            data["validation"] = Json(progress.validation);
        }
    }
    data["rows_per_second"] = rows_per_second;
    const double batch = job.plan.is_object() ? static_cast<double>(job.plan.value("batch", std::int64_t{0})) : 0.0;
    if (furthest >= 0 && rows_per_second > 0.0 && batch > 0.0) {
        const double left = static_cast<double>(data["steps"].get<std::int64_t>() - furthest);
        data["eta_seconds"] = left * batch / rows_per_second;
    }
    data["members"] = std::move(list);
    return container("progress", std::move(data));
}

Json report_attributes(const Job& job, const Wish& wish, const Done& first, const std::string& model) {
    Json report{{"trainingProcessRef", job.process},
                {"mLModelGeneratedRef", model},
                {"areNewTrainingDataUsed", true},
                {"modelPerformanceTraining", performance(scores_of(first, "trained", "training"), output_of(job))}};
    if (const auto scores = scores_of(first, "trained", "validation"); !scores.empty()) {
        report["modelPerformanceValidation"] = performance(scores, output_of(job));
    }
    if (!wish.sources.empty()) {
        report["usedConsumerTrainingData"] = Json::array({job.recipe.at("data").at("source")});
    }
    return report;
}

Json participants_record(const Job& job, const Done& first) {
    Json evaluations = Json::array();
    for (const EvaluationResult& evaluation : first.evaluations) {
        Json record{{"model", evaluation.model},
                    {"rows", evaluation.rows},
                    {"scores", performance(evaluation.scores, output_of(job))}};
        if (!evaluation.classes.empty()) {
            record["classes"] = Json(evaluation.classes);
        }
        if (!evaluation.confusion.empty()) {
            record["confusion"] = evaluation.confusion;
        }
        if (!evaluation.groups.empty()) {
            record["groups"] = Json(evaluation.groups);
        }
        evaluations.push_back(std::move(record));
    }
    const Json chosen = chosen_of(job);
    const double predicted = chosen.is_object() ? chosen.value("total_seconds", 0.0) : 0.0;
    double measured = 0.0;
    for (const auto& [dn, done] : job.done) {
        measured = std::max(measured, done.seconds);
    }
    const double to_start = seconds_between(job.submitted_ms, job.started_ms);
    return container(
        "participants",
        {{"participants", participants_of(job)},
         {"shipments", shipments_of(job)},
         {"evaluations", std::move(evaluations)},
         {"metrics", job.recipe.value("metrics", Json::array())},
         {"sources",
          {{"training", job.recipe.at("data").at("source")}, {"test", job.recipe.at("data").value("test", "")}}},
         {"layout", name_of(job.layout)},
         {"rows_missing", job.missing},
         {"recipe", job.recipe.value("name", "") + "@" + job.recipe_digest},
         {"steps", first.steps},
         {"stopped_early", first.stopped_early},
         {"best_epoch", first.best_epoch < 0 ? Json(nullptr) : Json(first.best_epoch)},
         {"parameters_digest", first.parameters_digest},
         {"predicted_seconds", predicted},
         {"measured_seconds", measured},
         {"timings",
          {{"submitted", time_of(job.submitted_ms)},
           {"evaluated", time_of(job.evaluated_ms)},
           {"started", time_of(job.started_ms)},
           {"ended", time_of(job.ended_ms)},
           {"submit_to_start_seconds", to_start},
           {"submit_to_first_step_seconds", to_start + first.first_step_seconds},
           {"training_seconds", measured},
           {"total_seconds", seconds_between(job.submitted_ms, job.ended_ms)}}}});
}

std::vector<Score> scores_of(const Done& done, const std::string& model, const std::string& rows) {
    for (const EvaluationResult& evaluation : done.evaluations) {
        if (evaluation.model == model && evaluation.rows == rows) {
            return evaluation.scores;
        }
    }
    return {};
}

} // namespace muster::producer
