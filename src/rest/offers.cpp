#include "rest/offers.h"

#include "rest/problem.h"
#include "wire/document.h"

#include <algorithm>

namespace muster::rest {
namespace {

constexpr const char* json_type = "application/json";
constexpr std::chrono::hours token_lifetime{24}; ///< when the admin names none
constexpr std::size_t yaml_nodes_max = 10'000;

bool is_yaml(const Request& request) {
    const auto type = media_type_of(request.header("content-type"));
    return type == "application/yaml" || type == "application/x-yaml" || type == "text/yaml";
}

Response no_enrolment() {
    return problem(404, "NOT_FOUND", "this producer signs no certificates; its operator's own CA does");
}

Response certificate_response(const Result<auth::Enrolled>& enrolled) {
    if (!enrolled) {
        return write_problem(enrolled.error());
    }
    return json_response(200, {{"certificate", enrolled->certificate}, {"authority", enrolled->authority}});
}

} // namespace

Response get_recipes(const Call& call) {
    return json_response(200, call.world.services.list_recipes());
}

Response get_recipe(const Call& call) {
    const auto recipes = call.world.services.list_recipes();
    const auto& wanted = call.captures.at(0);
    std::vector<std::string> names;
    for (const auto& recipe : recipes) {
        const auto name = recipe.value("name", "");
        if (wanted == name || wanted == name + "@" + recipe.value("digest", "")) {
            return json_response(200, recipe);
        }
        names.push_back(name);
    }
    auto error = not_allowed("name", wanted, std::move(names));
    error.code = ErrorCode::not_found;
    return read_problem(error);
}

Response post_recipe(const Call& call) {
    Json recipe;
    if (is_yaml(call.request)) {
        auto document = wire::parse_document(call.request.body, "recipe", yaml_nodes_max);
        if (!document) {
            return write_problem(document.error());
        }
        recipe = std::move(document->value);
    } else {
        auto body = json_body(call.request, {json_type, "application/yaml"});
        if (!body.json) {
            return body.refusal;
        }
        recipe = std::move(*body.json);
    }
    const auto added = call.world.services.add_recipe(recipe, call.who());
    return added ? json_response(201, *added) : write_problem(added.error());
}

Response post_plan(const Call& call) {
    const auto body = json_body(call.request, {json_type});
    if (!body.json) {
        return body.refusal;
    }
    if (!body.json->is_object() || !body.json->contains("attributes")) {
        return write_problem(Error{
            ErrorCode::invalid_argument, "the body is {\"attributes\": {...}} of an MLTrainingRequest", "/attributes"});
    }
    const auto plan = call.world.services.plan((*body.json)["attributes"], call.who());
    return plan ? json_response(200, *plan) : write_problem(plan.error());
}

Response get_functions(const Call& call) {
    return json_response(200, call.world.services.list_functions());
}

Response get_log(const Call& call) {
    const auto log = call.world.services.log_of(call.captures.at(0));
    return log ? json_response(200, *log) : read_problem(log.error());
}

Response post_enrolment(const Call& call) {
    if (call.world.enrolment == nullptr) {
        return no_enrolment();
    }
    const auto body = json_body(call.request, {json_type});
    if (!body.json) {
        return body.refusal;
    }
    const auto token = text_member(*body.json, "token");
    const auto dn = text_member(*body.json, "dn");
    const auto csr = text_member(*body.json, "csr");
    for (const auto* member : {&token, &dn, &csr}) {
        if (!*member) {
            return write_problem(member->error());
        }
    }
    return certificate_response(call.world.enrolment->enrol(*token, *dn, *csr));
}

Response post_renewal(const Call& call) {
    if (call.world.enrolment == nullptr) {
        return no_enrolment();
    }
    const auto body = json_body(call.request, {json_type});
    if (!body.json) {
        return body.refusal;
    }
    const auto csr = text_member(*body.json, "csr");
    if (!csr) {
        return write_problem(csr.error());
    }
    return certificate_response(call.world.enrolment->renew(*call.request.identity, call.request.serial, *csr));
}

Response post_token(const Call& call) {
    if (call.world.enrolment == nullptr) {
        return no_enrolment();
    }
    const auto body = json_body(call.request, {json_type});
    if (!body.json) {
        return body.refusal;
    }
    const auto dn = text_member(*body.json, "dn");
    if (!dn) {
        return write_problem(dn.error());
    }
    std::chrono::seconds lifetime = token_lifetime;
    if (body.json->contains("lifetime_seconds")) {
        const auto& seconds = (*body.json)["lifetime_seconds"];
        if (!seconds.is_number_integer()) {
            return write_problem(Error{ErrorCode::invalid_argument, "expected an integer", "/lifetime_seconds"});
        }
        lifetime = std::chrono::seconds{seconds.get<std::int64_t>()};
    }
    const auto token = call.world.enrolment->create_token(*dn, lifetime, call.who());
    if (!token) {
        return write_problem(token.error());
    }
    return json_response(201,
                         {{"token", token->token.reveal()}, {"dn", token->dn}, {"expires", rfc3339(token->expires)}});
}

Response get_health(const Call& /*call*/) {
    return json_response(200, {{"status", "alive"}});
}

Response get_readiness(const Call& call) {
    const auto ready = call.world.services.ready();
    return ready ? json_response(200, {{"status", "ready"}}) : read_problem(ready.error());
}

Response get_metrics(const Call& call) {
    Response response;
    response.content_type = "text/plain; version=0.0.4; charset=utf-8";
    response.body = call.world.services.metrics();
    return response;
}

} // namespace muster::rest
