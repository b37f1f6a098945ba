#include "rest/revocations.h"

#include "rest/problem.h"

namespace muster::rest {
namespace {

constexpr const char* json_type = "application/json";

Json to_json(const auth::Revocation& revocation) {
    return {{"subject", revocation.subject},
            {"reason", revocation.reason},
            {"by", revocation.by},
            {"time", revocation.time}};
}

/// Ends what the subject has open: its HTTP connections, its control channel, and the job that it works on.
void end_connections(const Call& call, const auth::Revocation& revocation) {
    const auto& world = call.world;
    world.recheck_connections(
        [&](const tls::Identity& who, const std::string& serial) { return world.gate.admit(who, serial).ok(); });
    if (const auto who = tls::parse_identity(revocation.identity()); who.role == tls::Role::function) {
        if (const auto refused = world.revocations.check(who.uri, ""); !refused) {
            world.control.revoke(who.name, refused.error().message);
        }
    }
    world.control.recheck(); // for a serial number, and for certificates that the policy maps to a name
}

} // namespace

Response get_revocations(const Call& call) {
    Json all = Json::array();
    for (const auth::Revocation& revocation : call.world.revocations.list()) {
        all.push_back(to_json(revocation));
    }
    return json_response(200, all);
}

Response put_revocation(const Call& call) {
    const auto body = json_body(call.request, {json_type});
    if (!body.json) {
        return body.refusal;
    }
    const auto reason = text_member(*body.json, "reason");
    if (!reason) {
        return write_problem(reason.error());
    }
    if (reason->empty()) {
        return write_problem(Error{ErrorCode::invalid_argument, "say why; whoever is refused reads it", "/reason"});
    }
    const auto done = call.world.revocations.revoke(call.captures.at(0), *reason, call.who());
    if (!done) {
        return write_problem(done.error());
    }
    end_connections(call, done->standing);
    return json_response(done->is_new ? 201 : 200, to_json(done->standing));
}

Response delete_revocation(const Call& call) {
    if (const auto done = call.world.revocations.restore(call.captures.at(0)); !done) {
        return write_problem(done.error());
    }
    Response response;
    response.status = 204;
    return response;
}

} // namespace muster::rest
