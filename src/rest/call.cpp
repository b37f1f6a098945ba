#include "rest/call.h"

#include "nrm/json_text.h"
#include "rest/problem.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

namespace muster::rest {

std::string media_type_of(std::string_view header) {
    auto type = header.substr(0, header.find(';'));
    while (!type.empty() && (type.back() == ' ' || type.back() == '\t')) {
        type.remove_suffix(1);
    }
    while (!type.empty() && (type.front() == ' ' || type.front() == '\t')) {
        type.remove_prefix(1);
    }
    std::string lower{type};
    std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return lower;
}

Body json_body(const Request& request, const std::vector<std::string>& media_types) {
    const auto type = media_type_of(request.header("content-type"));
    if (std::ranges::find(media_types, type) == media_types.end()) {
        auto error = not_allowed("Content-Type", type, media_types);
        auto refusal = write_problem(error);
        refusal = problem(415, "UNSUPPORTED_MEDIA_TYPE", error.text());
        return {std::nullopt, std::move(refusal)};
    }
    auto json = nrm::parse_json(request.body);
    if (!json) {
        auto error = std::move(json).error();
        error.code = ErrorCode::invalid_argument; // too deep is the client's mistake as well, not a lack of ours
        return {std::nullopt, write_problem(error)};
    }
    return {std::move(*json), {}};
}

Response json_response(int status, const Json& json) {
    Response response;
    response.status = status;
    response.content_type = "application/json";
    response.body = json.dump(-1, ' ', false, Json::error_handler_t::replace);
    return response;
}

Result<std::string> text_member(const Json& json, const std::string& name) {
    if (!json.is_object() || !json.contains(name) || !json[name].is_string()) {
        return Error{ErrorCode::invalid_argument, fmt::format("\"{}\" is required, a text", name), "/" + name};
    }
    return json[name].get<std::string>();
}

} // namespace muster::rest
