#include "link/envelope.h"

#include "nrm/json_text.h"

#include <fmt/format.h>

namespace muster::link {
namespace {

using Json = nlohmann::json;

/// Reads a non-negative integer member; -1 when there is none.
std::int64_t number(const Json& json, const char* name) {
    const auto found = json.find(name);
    return found != json.end() && found->is_number_integer() ? found->get<std::int64_t>() : -1;
}

} // namespace

std::optional<std::int64_t> Envelope::acknowledged() const {
    const auto type = message.find("type");
    const auto body = message.find("body");
    if (type == message.end() || *type != "ack" || body == message.end() || !body->is_object()) {
        return std::nullopt;
    }
    return number(*body, "id");
}

std::string seal(std::int64_t id, std::int64_t epoch, Json message) {
    message["v"] = protocol_version;
    message["id"] = id;
    message["epoch"] = epoch;
    // A file name or a reason in a message may hold bytes that are not UTF-8: they are replaced, never thrown about.
    return message.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string seal_ack(std::int64_t epoch, std::int64_t id) {
    return seal(0, epoch, {{"type", "ack"}, {"body", {{"id", id}}}});
}

Result<Envelope> open_envelope(std::string_view text) {
    auto json = nrm::parse_json(text);
    if (!json) {
        return std::move(json).error();
    }
    if (!json->is_object()) {
        return Error{ErrorCode::invalid_argument, "a frame of the control channel is a JSON object"};
    }
    if (const auto version = number(*json, "v"); version != protocol_version) {
        return Error{ErrorCode::invalid_argument,
                     fmt::format("the other end speaks version {} of the control channel, this one {}; "
                                 "use the same release of muster on both",
                                 version,
                                 protocol_version)};
    }
    Envelope envelope{number(*json, "id"), number(*json, "epoch"), {}};
    if (envelope.id < 0 || envelope.epoch < 0) {
        return Error{ErrorCode::invalid_argument, "a frame needs id and epoch, integers from 0"};
    }
    for (const auto* name : {"v", "id", "epoch"}) {
        json->erase(name);
    }
    envelope.message = std::move(*json);
    return envelope;
}

} // namespace muster::link
