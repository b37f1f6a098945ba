#include "rest/provisioning.h"

#include "nrm/class_table.h"
#include "nrm/tree.h"
#include "rest/problem.h"
#include "rest/selection.h"

#include <fmt/format.h>

#include <algorithm>

namespace muster::rest {
namespace {

using auth::Operation;

constexpr const char* json_type = "application/json";
constexpr const char* merge_patch_type = "application/merge-patch+json";

/// What changing objects of a class means to the policy.
Operation operation_on(const std::string& class_name, Operation usual) {
    return class_name == "NtfSubscriptionControl" || class_name == "HeartbeatControl" ? Operation::subscribe : usual;
}

/// Location and URIs in answers: absolute when the client told its name for us.
std::string uri_of(const Request& request, const nrm::Dn& dn) {
    const std::string path = fmt::format("{}/{}", provisioning_root, dn.path());
    const auto host = request.header("host");
    const bool is_sane = !host.empty() && std::ranges::all_of(host, [](unsigned char c) {
        return std::isalnum(c) != 0 || c == '.' || c == '-' || c == ':' || c == '[' || c == ']';
    });
    return is_sane ? fmt::format("https://{}{}", host, path) : path;
}

/// Writing priority needs a right of its own.
Result<void> authorise_priority(const Call& call, const nrm::Dn& dn, const Json& body) {
    if (dn.leaf().class_name != "MLTrainingProcess" || !body.is_object() || !body.contains("attributes")) {
        return {};
    }
    const auto& attributes = body["attributes"];
    if (!attributes.is_object() || !attributes.contains("priority") || !attributes["priority"].is_number_integer()) {
        return {};
    }
    const auto wanted = attributes["priority"].get<std::int64_t>();
    const auto current = call.world.objects.read(dn, {});
    if (current && !current->empty() && current->front().attributes.value("priority", Json{}) == Json(wanted)) {
        return {}; // read, edited and written back: no change of priority
    }
    return call.world.gate.authorise_priority(*call.caller, dn, wanted);
}

Response no_query(const Request& request) {
    return read_problem(not_allowed(request.query.begin()->first, request.query.begin()->first, {}));
}

Response written(const Call& call, const producer::WriteResult& result) {
    if (!result.ok) {
        return write_problem(result.refusal);
    }
    auto response = json_response(200, result.answer.body);
    if (result.answer.effect == producer::Effect::created) {
        response.status = 201;
        if (const auto dn = nrm::Dn::parse(result.answer.dn)) {
            response.headers.emplace_back("Location", uri_of(call.request, *dn));
        }
    }
    return response;
}

Response no_content() {
    Response response;
    response.status = 204;
    return response;
}

} // namespace

Response get_root(const Call& /*call*/) {
    return no_content();
}

Response get_objects(const Call& call) {
    const auto base = nrm::Dn::from_path(call.captures.at(0));
    if (!base) {
        return read_problem(base.error());
    }
    if (auto allowed = call.world.gate.authorise(*call.caller, Operation::read, *base); !allowed) {
        return read_problem(allowed.error());
    }
    const auto form = accepted_form(call.request.header("accept"));
    if (!form) {
        return problem(406,
                       "NOT_ACCEPTABLE",
                       fmt::format("offered are {}, {} and {}",
                                   media_type_of(ObjectForm::json),
                                   media_type_of(ObjectForm::hierarchical),
                                   media_type_of(ObjectForm::flat)));
    }
    const auto selection = parse_selection(call.request);
    if (!selection) {
        return read_problem(selection.error());
    }
    auto objects = call.world.objects.read(*base, selection->scope);
    if (!objects) {
        return read_problem(objects.error());
    }
    if (!keep_selected(*selection, *objects) && !objects->empty()) {
        return read_problem({ErrorCode::not_found, "none of the objects has what attributes or fields ask for"});
    }
    std::vector<const nrm::Object*> selected;
    selected.reserve(objects->size());
    for (const auto& object : *objects) {
        selected.push_back(&object);
    }
    const bool flat = *form == ObjectForm::flat;
    if (!flat && selected.empty()) {
        return no_content();
    }
    auto response = json_response(200, flat ? nrm::to_flat(selected) : nrm::to_hierarchy(selected, *base));
    response.content_type = media_type_of(*form);
    return response;
}

Response put_object(const Call& call) {
    const auto dn = nrm::Dn::from_path(call.captures.at(0));
    if (!dn) {
        return write_problem(dn.error());
    }
    const bool exists = call.world.objects.read(*dn, {}).ok();
    const auto operation = operation_on(dn->leaf().class_name, exists ? Operation::update : Operation::create);
    if (auto allowed = call.world.gate.authorise(*call.caller, operation, *dn); !allowed) {
        return write_problem(allowed.error());
    }
    if (!call.request.query.empty()) {
        return no_query(call.request);
    }
    const auto body = json_body(call.request, {json_type});
    if (!body.json) {
        return body.refusal;
    }
    if (auto allowed = authorise_priority(call, *dn, *body.json); !allowed) {
        return write_problem(allowed.error());
    }
    const auto result = call.world.objects.put(*dn, *body.json, call.who());
    if (result.ok && result.answer.effect != producer::Effect::created && !result.answer.stored_differs) {
        return no_content();
    }
    return written(call, result);
}

Response post_object(const Call& call) {
    const auto parent = nrm::Dn::from_path(call.captures.at(0));
    if (!parent) {
        return write_problem(parent.error());
    }
    const auto body = json_body(call.request, {json_type});
    if (!body.json) {
        return body.refusal;
    }
    const auto class_name = text_member(*body.json, "objectClass");
    const auto row = class_name ? nrm::class_of(*class_name) : Result<const nrm::ClassRow*>{class_name.error()};
    const auto operation = operation_on(row ? *class_name : std::string{}, Operation::create);
    if (auto allowed = call.world.gate.authorise(*call.caller, operation, *parent); !allowed) {
        return write_problem(allowed.error());
    }
    if (!row) {
        auto error = row.error();
        error.where = "/objectClass";
        return write_problem(error);
    }
    if (body.json->contains("id") && !(*body.json)["id"].is_null()) {
        const auto id = text_member(*body.json, "id");
        const auto good = id ? nrm::check_id(*id) : Result<void>{id.error()};
        if (!good) {
            auto error = good.error();
            error.where = "/id";
            return write_problem(error);
        }
    }
    return written(call, call.world.objects.post(*parent, *body.json, call.who()));
}

Response patch_object(const Call& call) {
    const auto dn = nrm::Dn::from_path(call.captures.at(0));
    if (!dn) {
        return write_problem(dn.error());
    }
    const auto operation = operation_on(dn->leaf().class_name, Operation::update);
    if (auto allowed = call.world.gate.authorise(*call.caller, operation, *dn); !allowed) {
        return write_problem(allowed.error());
    }
    const auto body = json_body(call.request, {merge_patch_type});
    if (!body.json) {
        auto refusal = body.refusal;
        if (refusal.status == 415) {
            refusal.headers.emplace_back("Accept-Patch", merge_patch_type);
        }
        return refusal;
    }
    if (auto allowed = authorise_priority(call, *dn, *body.json); !allowed) {
        return write_problem(allowed.error());
    }
    return written(call, call.world.objects.merge_patch(*dn, *body.json, call.who()));
}

Response delete_object(const Call& call) {
    const auto dn = nrm::Dn::from_path(call.captures.at(0));
    if (!dn) {
        return write_problem(dn.error());
    }
    const auto operation = operation_on(dn->leaf().class_name, Operation::remove);
    if (auto allowed = call.world.gate.authorise(*call.caller, operation, *dn); !allowed) {
        return write_problem(allowed.error());
    }
    const auto result = call.world.objects.remove(*dn, call.who());
    return result.ok ? no_content() : write_problem(result.refusal);
}

} // namespace muster::rest
