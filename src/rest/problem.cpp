#include "rest/problem.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cctype>

namespace muster::rest {
namespace {

using Json = nlohmann::json;

/// The `type` of a code. TS 32.158 lists values in a clause we could not read, so they are all here.
std::string type_of(ErrorCode code) {
    std::string type = name_of(code);
    std::transform(
        type.begin(), type.end(), type.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    return type;
}

Response respond(int status, const Json& body) {
    Response response;
    response.status = status;
    response.content_type = "application/json";
    // Texts of clients may come back here: what is not UTF-8 in them is replaced, never thrown about.
    response.body = body.dump(-1, ' ', false, Json::error_handler_t::replace);
    if (status == 503 || status == 429) {
        response.headers.emplace_back("Retry-After", "1");
    }
    return response;
}

Json detail(const Error& error, const char* list) {
    Json entry{{"type", type_of(error.code)}, {"reason", error.message}, {"title", error.text()}};
    if (!error.where.empty()) {
        entry["name"] = error.where;
        entry[list] = Json::array({error.where});
    }
    if (!error.allowed.empty()) {
        entry["allowedValues"] = error.allowed;
    }
    if (!error.nearest.empty()) {
        entry["nearestMatch"] = error.nearest;
    }
    return entry;
}

Json body_of(ErrorCode code, const std::string& reason, const std::vector<Error>& errors, const char* list) {
    Json body{{"status", std::to_string(status_of(code))}, {"type", type_of(code)}, {"reason", reason}};
    std::string title;
    for (const auto& error : errors) {
        if (!error.where.empty()) {
            body[list].push_back(error.where);
        }
        body["otherProblems"].push_back(detail(error, list));
        title += (title.empty() ? "" : "; ") + error.text();
    }
    body["title"] = title.empty() ? reason : title;
    return body;
}

Response of_error(const Error& error, const char* list) {
    return respond(status_of(error.code), body_of(error.code, error.message, {error}, list));
}

} // namespace

int status_of(ErrorCode code) {
    switch (code) {
    case ErrorCode::invalid_argument:
        return 400;
    case ErrorCode::unauthenticated:
        return 401;
    case ErrorCode::permission_denied:
        return 403;
    case ErrorCode::not_found:
        return 404;
    case ErrorCode::conflict:
        return 409;
    case ErrorCode::resource_exhausted:
        return 429;
    case ErrorCode::unavailable:
    case ErrorCode::deadline_exceeded:
        return 503;
    }
    return 500;
}

Response problem(int status, const std::string& type, const std::string& title) {
    return respond(status, {{"status", std::to_string(status)}, {"type", type}, {"reason", title}, {"title", title}});
}

Response write_problem(const Error& error) {
    return of_error(error, "badAttributes");
}

Response write_problem(const producer::Refusal& refusal) {
    return respond(status_of(refusal.code), body_of(refusal.code, refusal.reason, refusal.problems, "badAttributes"));
}

Response read_problem(const Error& error) {
    return of_error(error, "badQueryParams");
}

} // namespace muster::rest
