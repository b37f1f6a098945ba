/// The JSON forms of the model's plain structs, for nlohmann's conversions. Member names are the JSON names.
/// Reading throws nlohmann::json::exception; wire's functions turn that into a Result.
#pragma once

#include "model/agreement.h"
#include "model/calibration.h"
#include "model/capacity.h"
#include "model/messages.h"
#include "model/plan.h"
#include "model/preprocessing.h"
#include "model/roster.h"
#include "model/score.h"
#include "model/stage.h"
#include "model/state_shares.h"
#include "model/statistics.h"

#include <nlohmann/json.hpp>

#include <cmath>

namespace muster {

NLOHMANN_JSON_SERIALIZE_ENUM(ColumnKind,
                             {{ColumnKind::number, "number"},
                              {ColumnKind::category, "category"},
                              {ColumnKind::token, "token"},
                              {ColumnKind::date, "date"}})
NLOHMANN_JSON_SERIALIZE_ENUM(Strategy,
                             {{Strategy::one_function, "one_function"},
                              {Strategy::data_parallel, "data_parallel"},
                              {Strategy::pipeline, "pipeline"}})
NLOHMANN_JSON_SERIALIZE_ENUM(DataLayout, {{DataLayout::whole, "whole"}, {DataLayout::pinned, "pinned"}})

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(
    Capacity, cpu_cores, gpu_count, dpu_count, memory_bytes, storage_bytes, bandwidth_bits_per_second, cpu_model)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(RowGrant, to, consumer)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(DataSource, name, bytes, digest, may_leave, pinned, rows_may_leave)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Score, metric, value)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(PerformanceRequirement, output, metric, score)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(StepTime, batch, seconds)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(PeakMemory, batch, bytes)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(
    BlockCost, name, seconds, update_seconds, state_bytes, activation_bytes, working_bytes, input_bytes)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Calibration,
                                   steps,
                                   memory,
                                   parameter_bytes,
                                   latency_seconds,
                                   bytes_per_second,
                                   link_cpu_seconds_per_byte,
                                   micro_rows,
                                   base_bytes,
                                   blocks)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(ModelStage, first_block, blocks, recompute)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(RosterMember, dn, identity, addresses, batch_rows, state_share, stage, rows_from)
inline void to_json(nlohmann::json& json, const Roster& roster) {
    json = {{"job", roster.job},
            {"generation", roster.generation},
            {"plan_digest", roster.plan_digest},
            {"members", roster.members},
            {"micro_rows", roster.micro_rows},
            {"layout", roster.layout}};
}
/// By hand, because shares that cannot be meant may get past no reader.
inline void from_json(const nlohmann::json& json, Roster& roster) {
    json.at("job").get_to(roster.job);
    json.at("generation").get_to(roster.generation);
    json.at("plan_digest").get_to(roster.plan_digest);
    json.at("members").get_to(roster.members);
    json.at("micro_rows").get_to(roster.micro_rows);
    json.at("layout").get_to(roster.layout);
    if (auto checked = check_state_shares(state_shares_of(roster.members)); !checked) {
        throw nlohmann::json::other_error::create(500, "roster: " + checked.error().message, &json);
    }
}
/// Adds what is done to a number; what does nothing is left out.
inline void put_transform(nlohmann::json& json, const NumberTransform& transform) {
    if (transform.low && transform.high) {
        json["clip"] = {*transform.low, *transform.high};
    }
    if (transform.log) {
        json["log"] = true;
    }
}
[[nodiscard]] inline NumberTransform transform_in(const nlohmann::json& json) {
    NumberTransform transform{.log = json.value("log", false)};
    if (json.contains("clip")) {
        transform.low = json.at("clip").at(0).get<double>();
        transform.high = json.at("clip").at(1).get<double>();
    }
    return transform;
}
/// By hand: models from before some of it was known have less.
inline void to_json(nlohmann::json& json, const InputColumn& input) {
    json = {{"name", input.name},
            {"kind", input.kind},
            {"fill", input.fill},
            {"mean", input.mean},
            {"scale", input.scale},
            {"categories", input.categories},
            {"missing_flag", input.missing_flag}};
    put_transform(json, input.transform);
    if (input.raw) {
        json["raw"] = true;
    }
    if (input.bucket) {
        json["bucket"] = true;
    }
}
inline void from_json(const nlohmann::json& json, InputColumn& input) {
    json.at("name").get_to(input.name);
    json.at("kind").get_to(input.kind);
    json.at("fill").get_to(input.fill);
    json.at("mean").get_to(input.mean);
    json.at("scale").get_to(input.scale);
    json.at("categories").get_to(input.categories);
    json.at("missing_flag").get_to(input.missing_flag);
    input.transform = transform_in(json);
    input.raw = json.value("raw", false);
    input.bucket = json.value("bucket", false);
}
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(TargetColumn, name, kind, mean, scale, median, categories)
NLOHMANN_JSON_SERIALIZE_ENUM(HistoryStatistic,
                             {{HistoryStatistic::mean, "mean"},
                              {HistoryStatistic::median, "median"},
                              {HistoryStatistic::minimum, "min"},
                              {HistoryStatistic::maximum, "max"},
                              {HistoryStatistic::deviation, "std"}})
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(
    RecipeHistory, group, value, now, known_at, last, window, statistics, outstanding, since_last)
/// By hand: models from before there was a history have none.
inline void to_json(nlohmann::json& json, const Preprocessing& preprocessing) {
    json = {{"inputs", preprocessing.inputs}, {"target", preprocessing.target}};
    if (preprocessing.history) {
        json["history"] = *preprocessing.history;
    }
}
inline void from_json(const nlohmann::json& json, Preprocessing& preprocessing) {
    json.at("inputs").get_to(preprocessing.inputs);
    json.at("target").get_to(preprocessing.target);
    preprocessing.history =
        json.contains("history") ? std::optional{json.at("history").get<RecipeHistory>()} : std::nullopt;
}
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(CategoryCount, name, rows)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(ValueGroup, mean, rows)
/// By hand: what no rows can have may get past no reader.
inline void to_json(nlohmann::json& json, const ColumnStatistics& column) {
    json = {{"name", column.name},
            {"kind", column.kind},
            {"values", column.values},
            {"missing", column.missing},
            {"mean", column.mean},
            {"squares", column.squares},
            {"categories", column.categories}};
    put_transform(json, column.transform);
}
inline void from_json(const nlohmann::json& json, ColumnStatistics& column) {
    json.at("name").get_to(column.name);
    json.at("kind").get_to(column.kind);
    json.at("values").get_to(column.values);
    json.at("missing").get_to(column.missing);
    json.at("mean").get_to(column.mean);
    json.at("squares").get_to(column.squares);
    json.at("categories").get_to(column.categories);
    column.transform = transform_in(json);
    if (!std::isfinite(column.mean) || !std::isfinite(column.squares) || column.squares < 0.0 || column.values < 0) {
        throw nlohmann::json::other_error::create(500, "statistics that no rows can have: " + column.name, &json);
    }
}
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(TableStatistics, rows, inputs, target, target_groups)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(MatrixInfo, rows, test_rows, columns, digest, encode_seconds)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(
    PlanMember, dn, batch_rows, share, compute_seconds, peak_memory_bytes, state_share, stage, rows_from)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(PlanCandidate,
                                   name,
                                   strategy,
                                   layout,
                                   members,
                                   micro_rows,
                                   state_sharded,
                                   step_seconds,
                                   shipping_seconds,
                                   scoring_seconds,
                                   total_seconds,
                                   wire_bytes_per_step,
                                   fits,
                                   late_seconds,
                                   reason)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Plan, candidates, chosen, why, batch, steps, provisional)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(
    AgreedMember, dn, identity, batch_rows, state_share, stage, holds_data, rows_from, rows, matrix_digest)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(AgreedSource, name, digest)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Agreement,
                                   job,
                                   generation,
                                   request,
                                   request_version,
                                   consumer,
                                   recipe,
                                   model_kind,
                                   layout,
                                   matrix_digest,
                                   sources,
                                   batch,
                                   steps,
                                   members,
                                   micro_rows)

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Welcome, epoch, heartbeat_busy_ms, heartbeat_idle_ms)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Propose,
                                   job,
                                   consumer,
                                   caller,
                                   inference,
                                   recipe,
                                   model_kind,
                                   sources,
                                   peers,
                                   receivers,
                                   row_receivers,
                                   receives_rows,
                                   memory_bytes,
                                   cpu_cores,
                                   expected_seconds,
                                   lease_seconds,
                                   layout)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(DataElsewhere, matrix, preprocessing, training_rows, validation_rows)
inline void to_json(nlohmann::json& json, const std::optional<DataElsewhere>& data) {
    json = data ? nlohmann::json(*data) : nlohmann::json{};
}
inline void from_json(const nlohmann::json& json, std::optional<DataElsewhere>& data) {
    data = json.is_null() ? std::nullopt : std::optional{json.get<DataElsewhere>()};
}
inline void to_json(nlohmann::json& json, const Prepare& order) {
    json = {{"job", order.job}, {"recipe", order.recipe}};
    to_json(json["data"], order.data);
    json["preprocessing"] = order.preprocessing ? nlohmann::json(*order.preprocessing) : nlohmann::json{};
}
inline void from_json(const nlohmann::json& json, Prepare& order) {
    json.at("job").get_to(order.job);
    json.at("recipe").get_to(order.recipe);
    from_json(json.at("data"), order.data);
    const nlohmann::json& preprocessing = json.at("preprocessing");
    order.preprocessing = preprocessing.is_null() ? std::nullopt : std::optional{preprocessing.get<Preprocessing>()};
}
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Calibrate, job, certificate, authority, roster, batches, measure_steps)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Commit, job, certificate, authority, roster, agreement, requirements, lease_seconds)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Start, job, generation)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Release, job, reason, keep_rows)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(KeepAlive, jobs, lease_seconds)

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(HeldJob, job, generation, state)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Hello, dn, version, capacity, sources, inference_names, jobs, busy)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Heartbeat, capacity, jobs)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Accept,
                                   job,
                                   lease_seconds,
                                   cpu_cores,
                                   memory_bytes,
                                   may_calibrate,
                                   csr,
                                   addresses,
                                   sources,
                                   ship_bytes_per_second_max)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Refuse, job, generation, code, words, retry_after_seconds)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Counter, offer, words)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(
    Prepared, job, matrix, training_rows, validation_rows, parameters, outputs, preprocessing)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Calibrated, job, calibration)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Committed, job, generation, plan_digest, signature, certificate)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Progress,
                                   job,
                                   generation,
                                   step,
                                   steps,
                                   epoch,
                                   loss,
                                   rows_per_second,
                                   compute_seconds,
                                   wait_seconds,
                                   bytes_sent,
                                   validation,
                                   rows_arrived_bytes,
                                   rows_expected_bytes)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(ClassScores, name, rows, scores)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(GroupScores, input, name, rows, scores)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(EvaluationResult, model, rows, scores, classes, confusion, groups)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Shipment, from, to, bytes, resumed_from, digest, seconds)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Done,
                                   job,
                                   generation,
                                   steps,
                                   rows,
                                   seconds,
                                   first_step_seconds,
                                   compute_seconds,
                                   wait_seconds,
                                   bytes_sent,
                                   peak_memory_bytes,
                                   state_bytes,
                                   stopped_early,
                                   best_epoch,
                                   model_sha256,
                                   model_bytes,
                                   parameters_digest,
                                   evaluations,
                                   preprocessing,
                                   shipments)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Failed, job, generation, reason)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Released, job)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Gathered, job, statistics)

} // namespace muster
