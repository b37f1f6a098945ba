/// One authenticated, authorised request on its way to a handler, and what handlers stand on.
#pragma once

#include "auth/audit.h"
#include "auth/enrolment.h"
#include "auth/gate.h"
#include "base/clock.h"
#include "link/function_server.h"
#include "port/artefacts.h"
#include "producer/management.h"
#include "producer/services.h"
#include "rest/http.h"
#include "rest/server.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace muster::rest {

using Json = nlohmann::json;

/// What the routes lead to. All outlive the routes.
struct World {
    const auth::Gate& gate;
    auth::AuditLog& audit;
    auth::Enrolment* enrolment; ///< null: certificates come from elsewhere, nothing is enrolled here
    producer::ManagedObjects& objects;
    producer::Services& services;
    Artefacts& artefacts;
    link::FunctionServer& control;
    auth::Revocations& revocations;
    std::function<void(const StillLetIn&)> recheck_connections; ///< Server::recheck
    std::int64_t program_bytes_max{1LL << 30U};                 ///< of an archive that a user brings
};

/// What a handler is given.
struct Call {
    const World& world;
    const Request& request;
    std::optional<auth::Principal> caller{}; ///< none on routes that need no certificate
    std::vector<std::string> captures{};     ///< decoded path segments for {}, undecoded rest of the path for **

    /// Name for the audit log and the producer: the principal's, or the peer's address.
    [[nodiscard]] std::string who() const { return caller ? caller->name() : request.peer; }
};

/// Parses the body as JSON after checking its Content-Type. The refusal is a complete response: 415 or 400.
struct Body {
    std::optional<Json> json{};
    Response refusal{};
};
[[nodiscard]] Body json_body(const Request& request, const std::vector<std::string>& media_types);

/// The media type of a header value, in lower case, without parameters.
[[nodiscard]] std::string media_type_of(std::string_view header);

/// A response with a JSON body.
[[nodiscard]] Response json_response(int status, const Json& json);

/// Reads a text member. Errors: invalid_argument, when it is missing or no text.
[[nodiscard]] Result<std::string> text_member(const Json& json, const std::string& name);

} // namespace muster::rest
