#include "wire/messages.h"

#include "wire/envelope.h"
#include "wire/structs.h"

namespace muster::wire {
namespace {

// In the order of the variants' alternatives.
constexpr std::array<std::string_view, 8> to_function_names{
    "welcome", "propose", "prepare", "calibrate", "commit", "start", "release", "keep_alive"};
constexpr std::array<std::string_view, 13> from_function_names{"hello",
                                                               "heartbeat",
                                                               "accept",
                                                               "refuse",
                                                               "counter",
                                                               "prepared",
                                                               "calibrated",
                                                               "committed",
                                                               "progress",
                                                               "done",
                                                               "failed",
                                                               "released",
                                                               "gathered"};

} // namespace

nlohmann::json to_json(const ToFunction& message) {
    return envelope(message, to_function_names);
}

Result<ToFunction> to_function_from_json(const nlohmann::json& json) {
    return open_envelope<ToFunction>(json, to_function_names);
}

nlohmann::json to_json(const FromFunction& message) {
    return envelope(message, from_function_names);
}

Result<FromFunction> from_function_from_json(const nlohmann::json& json) {
    return open_envelope<FromFunction>(json, from_function_names);
}

std::string_view type_of(const ToFunction& message) {
    return to_function_names.at(message.index());
}

std::string_view type_of(const FromFunction& message) {
    return from_function_names.at(message.index());
}

} // namespace muster::wire
