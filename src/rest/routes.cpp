#include "rest/routes.h"

#include "base/log.h"
#include "link/message_socket.h"
#include "link/url.h"
#include "rest/blobs.h"
#include "rest/offers.h"
#include "rest/problem.h"
#include "rest/provisioning.h"
#include "rest/revocations.h"

#include <fmt/format.h>

#include <array>

namespace muster::rest {
namespace {

using auth::Operation;

constexpr std::array table{
    Route{"GET", "/ProvMnS/v1", Needs::certificate, Operation::read, get_root, "TS 32.158 4.4.2"},
    Route{"GET", "/ProvMnS/v1/**", Needs::by_object, Operation::read, get_objects, "TS 28.532 11.1.1.2"},
    Route{"PUT", "/ProvMnS/v1/**", Needs::by_object, Operation::update, put_object, "TS 28.532 11.1.1.1"},
    Route{"POST", "/ProvMnS/v1/**", Needs::by_object, Operation::create, post_object, "TS28532_ProvMnS.yaml post"},
    Route{"PATCH", "/ProvMnS/v1/**", Needs::by_object, Operation::update, patch_object, "TS 28.532 11.1.1.3"},
    Route{"DELETE", "/ProvMnS/v1/**", Needs::by_object, Operation::remove, delete_object, "TS 28.532 11.1.1.4"},

    Route{"GET", "/muster/v1/recipes", Needs::permission, Operation::read, get_recipes, "ours"},
    Route{"POST", "/muster/v1/recipes", Needs::permission, Operation::recipe, post_recipe, "ours"},
    Route{"GET", "/muster/v1/recipes/{}", Needs::permission, Operation::read, get_recipe, "ours"},
    Route{"POST", "/muster/v1/plan", Needs::permission, Operation::plan, post_plan, "ours; TS 28.105 6.2b.2.14"},
    Route{"GET", "/muster/v1/functions", Needs::permission, Operation::read, get_functions, "ours"},
    Route{"GET", "/muster/v1/jobs/{}/log", Needs::permission, Operation::read, get_log, "ours"},

    Route{"GET", "/muster/v1/blobs/{}", Needs::download, Operation::model_download, get_blob, "ours; RFC 9110"},
    Route{"HEAD", "/muster/v1/blobs/{}", Needs::upload, Operation::model_download, head_blob, "ours; RFC 9110"},
    Route{"PUT", "/muster/v1/blobs/{}", Needs::upload, Operation::recipe, put_blob, "ours; RFC 9110 14.5"},

    Route{"POST", "/muster/v1/enrolment", Needs::nothing, Operation::create, post_enrolment, "ours; TS 33.310"},
    Route{"POST", "/muster/v1/renewal", Needs::function, Operation::update, post_renewal, "ours; TS 33.310"},
    Route{"POST", "/muster/v1/tokens", Needs::permission, Operation::admin, post_token, "ours"},
    Route{"GET", "/muster/v1/revocations", Needs::permission, Operation::revoke, get_revocations, "ours; RFC 5280 3.3"},
    Route{"PUT", "/muster/v1/revocations/{}", Needs::permission, Operation::revoke, put_revocation, "ours"},
    Route{"DELETE", "/muster/v1/revocations/{}", Needs::permission, Operation::revoke, delete_revocation, "ours"},

    Route{"GET", "/healthz", Needs::certificate, Operation::read, get_health, "ours"},
    Route{"GET", "/readyz", Needs::certificate, Operation::read, get_readiness, "ours"},
    Route{"GET", "/metrics", Needs::certificate, Operation::read, get_metrics, "Prometheus text format 0.0.4"},
};

/// Takes the first segment of a path (without its slash) off.
std::string_view take_segment(std::string_view& path) {
    const auto end = path.find('/', 1);
    const auto segment = path.substr(1, end == std::string_view::npos ? end : end - 1);
    path = end == std::string_view::npos ? std::string_view{} : path.substr(end);
    return segment;
}

/// Matches and fills `captures`; none when it does not match.
std::optional<std::vector<std::string>> match(std::string_view pattern, std::string_view path) {
    std::vector<std::string> captures;
    while (!pattern.empty()) {
        if (path.empty()) {
            return std::nullopt;
        }
        if (pattern == "/**") {
            captures.emplace_back(path.substr(1));
            return path.size() > 1 ? std::optional{captures} : std::nullopt;
        }
        const auto wanted = take_segment(pattern);
        const auto given = take_segment(path);
        if (wanted == "{}") {
            auto plain = link::percent_decode(given, false);
            if (!plain || plain->empty()) {
                return std::nullopt;
            }
            captures.push_back(std::move(*plain));
        } else if (wanted != given) {
            return std::nullopt;
        }
    }
    return path.empty() || path == "/" ? std::optional{captures} : std::nullopt;
}

bool is_write(const Request& request) {
    return request.method != "GET" && request.method != "HEAD";
}

Response refusal_response(const Request& request, const Error& error) {
    return is_write(request) ? write_problem(error) : read_problem(error);
}

/// The reason within a refusal's body, for the log.
std::string reason_of(const Response& response) {
    const auto body = Json::parse(response.body, nullptr, false);
    return body.is_object() ? body.value("title", std::string{}) : std::string{};
}

Error needs_function(const auth::Principal& caller) {
    return {ErrorCode::permission_denied,
            fmt::format("'{}' is no training function; this is for training functions only", caller.name())};
}

} // namespace

std::span<const Route> routes() {
    return table;
}

std::optional<Response> Router::refuse(const Route& route, Call& call) const {
    const auto& request = call.request;
    if (route.needs == Needs::nothing) {
        return std::nullopt;
    }
    if (!request.identity) {
        return refusal_response(
            request,
            {ErrorCode::unauthenticated, "a client certificate is needed, issued by the CA that this producer trusts"});
    }
    auto caller = world_.gate.admit(*request.identity, request.serial);
    if (!caller) {
        return refusal_response(request, caller.error());
    }
    call.caller = std::move(*caller);
    const bool is_function = call.caller->role() == tls::Role::function;
    if (route.needs == Needs::function && !is_function) {
        return refusal_response(request, needs_function(*call.caller));
    }
    if (route.needs == Needs::download && is_function &&
        world_.services.may_fetch(call.caller->identity().name, call.captures.at(0))) {
        return std::nullopt;
    }
    if (route.needs == Needs::upload &&
        (is_function || world_.gate.authorise(*call.caller, Operation::recipe, std::nullopt))) {
        return std::nullopt;
    }
    if (route.needs == Needs::permission || route.needs == Needs::upload || route.needs == Needs::download) {
        if (auto allowed = world_.gate.authorise(*call.caller, route.operation, std::nullopt); !allowed) {
            return refusal_response(request, allowed.error());
        }
    }
    return std::nullopt;
}

Response Router::dispatch(const Request& request, Call& call) {
    std::string allowed;
    for (const auto& route : table) {
        auto captures = match(route.pattern, request.path);
        if (!captures) {
            continue;
        }
        if (route.method != request.method) {
            allowed += (allowed.empty() ? "" : ", ") + std::string{route.method};
            continue;
        }
        call.captures = std::move(*captures);
        auto refusal = refuse(route, call);
        return refusal ? std::move(*refusal) : route.handler(call);
    }
    if (!request.identity) {
        return refusal_response(request, {ErrorCode::unauthenticated, "a client certificate is needed"});
    }
    if (allowed.empty()) {
        return refusal_response(request, {ErrorCode::not_found, "there is nothing at '" + request.path + "'"});
    }
    auto response = problem(405, "METHOD_NOT_ALLOWED", "at '" + request.path + "' are allowed: " + allowed);
    response.headers.emplace_back("Allow", allowed);
    return response;
}

Response Router::handle(const Request& request) {
    Call call{world_, request, std::nullopt, {}};
    try {
        const bool writes = is_write(request);
        if (writes) {
            const std::scoped_lock lock{mutex_};
            if (audit_down_ && !world_.audit.append({request.peer, "audit", "log", auth::Outcome::done, "again"})) {
                return problem(503, "UNAVAILABLE", "the audit log cannot be written, so nothing may be changed");
            }
            audit_down_ = false;
        }
        auto response = dispatch(request, call);
        const bool is_refusal = response.status >= 400 && (writes || response.status == 401 || response.status == 403);
        const bool is_part = response.status == 202; // of an upload: its end is what counts
        if ((is_refusal || (writes && !is_part)) && !audit(call, request.method, response)) {
            log::error("audit log cannot be written; changes are refused until it can {}",
                       log::field("request", request.id));
        }
        return response;
    } catch (const StoreDown& down) {
        // The boundary of a request: the store is part of the environment, and may come back.
        log::error("store down {} {}", log::field("request", request.id), log::field("reason", down.what()));
        return problem(503, "UNAVAILABLE", "the producer's store cannot be reached; try again");
    }
}

bool Router::audit(const Call& call, std::string_view operation, const Response& response) {
    const bool refused = response.status >= 400;
    const auto outcome = !refused                ? auth::Outcome::done
                         : response.status < 500 ? auth::Outcome::refused
                                                 : auth::Outcome::failed;
    const auto written = world_.audit.append(
        {call.who(), std::string{operation}, call.request.path, outcome, refused ? reason_of(response) : ""});
    const std::scoped_lock lock{mutex_};
    audit_down_ = audit_down_ || !written;
    return written.ok();
}

Result<void> Router::still_admitted(const tls::Identity& who, const std::string& serial) const {
    try {
        const auto caller = world_.gate.admit(who, serial);
        return caller ? Result<void>{} : Result<void>{caller.error()};
    } catch (const StoreDown& down) {
        // A connection that was let in stands while nobody can be asked.
        log::error("revocations cannot be read {}", log::field("reason", down.what()));
        return {};
    }
}

UpgradeAnswer Router::upgrade(const Request& request) {
    Call call{world_, request, std::nullopt, {}};
    constexpr Route control{"GET", link::control_path, Needs::function, Operation::update, nullptr, "ours"};
    try {
        if (auto refusal = refuse(control, call)) {
            static_cast<void>(audit(call, "control", *refusal)); // a refusal changes nothing, so it stands without
            return std::move(*refusal);
        }
        auto session = world_.control.accept(
            call.caller->identity().name,
            [this, who = *request.identity, serial = request.serial] { return still_admitted(who, serial); });
        if (!session) {
            return read_problem(session.error());
        }
        return std::move(*session);
    } catch (const StoreDown& down) {
        log::error("store down {} {}", log::field("request", request.id), log::field("reason", down.what()));
        return problem(503, "UNAVAILABLE", "the producer's store cannot be reached; try again");
    }
}

} // namespace muster::rest
