#include "wire/worker_messages.h"

#include "wire/envelope.h"
#include "wire/fields.h"
#include "wire/structs.h"

namespace muster {

static void to_json(nlohmann::json& json, const Secret& secret) {
    json = secret.reveal();
}
static void from_json(const nlohmann::json& json, Secret& secret) {
    secret = Secret{json.get<std::string>()};
}
static void to_json(nlohmann::json& json, const WorkerPrepare& order) {
    json = {{"job", order.job}, {"recipe", order.recipe}, {"threads", order.threads}};
    to_json(json["data"], order.data);
}
static void from_json(const nlohmann::json& json, WorkerPrepare& order) {
    order = {.job = json.at("job"), .recipe = json.at("recipe"), .data = {}, .threads = json.at("threads")};
    from_json(json.at("data"), order.data);
}
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(WorkerCalibrate, order, key, rank)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(WorkerCommit, order, key, rank, ship_bytes_per_second_max)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(WorkerStart, generation)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(WorkerLease, lease_seconds)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(WorkerStop, reason)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(WorkerJoined, generation)

namespace wire {
namespace {

// In the order of the variants' alternatives.
constexpr std::array<std::string_view, 6> to_worker_names{"prepare", "calibrate", "commit", "start", "lease", "stop"};
constexpr std::array<std::string_view, 6> from_worker_names{
    "prepared", "calibrated", "joined", "progress", "done", "failed"};

} // namespace

nlohmann::json to_json(const ToWorker& message) {
    return envelope(message, to_worker_names);
}

Result<ToWorker> to_worker_from_json(const nlohmann::json& json) {
    return open_envelope<ToWorker>(json, to_worker_names);
}

nlohmann::json to_json(const FromWorker& message) {
    return envelope(message, from_worker_names);
}

Result<FromWorker> from_worker_from_json(const nlohmann::json& json) {
    return open_envelope<FromWorker>(json, from_worker_names);
}

nlohmann::json to_json(const DialAnswer& answer) {
    return {{"type", "dialled"}, {"body", {{"id", answer.id}, {"error", answer.error}}}};
}

bool is_dial(const nlohmann::json& json) {
    return json.is_object() && json.value("type", nlohmann::json{}) == "dial";
}

Result<DialRequest> dial_request_from_json(const nlohmann::json& json) {
    const nlohmann::json object = json.value("body", nlohmann::json::object());
    Fields body{object, "/body"};
    DialRequest request{.id = body.integer("id", 0, std::numeric_limits<std::int64_t>::max()),
                        .address = body.text("address"),
                        .timeout_ms = body.integer("timeout_ms", 0, 3'600'000)};
    if (auto done = body.finish(); !done) {
        return std::move(done).error();
    }
    return request;
}

} // namespace wire
} // namespace muster
