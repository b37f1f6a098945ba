/// Errors as the standard's bodies. Source: TS28623_ComDefs.yaml 19.x, ErrorResponseGet and ErrorResponseDefault.
///
/// badAttributes and badQueryParams list names, as the schema wants; what a person needs beside a name (reason, allowed
/// values, nearest match) stands in otherProblems, one entry for each, in members the schema leaves free.
#pragma once

#include "base/result.h"
#include "producer/management.h"
#include "rest/http.h"

#include <string>
#include <vector>

namespace muster::rest {

/// HTTP status of a code: 400 401 403 404 409 429 503.
[[nodiscard]] int status_of(ErrorCode code);

/// Body of a refusal that concerns no attribute: `title` for people, `type` in capitals for programs.
[[nodiscard]] Response problem(int status, const std::string& type, const std::string& title);
/// ErrorResponseDefault (PUT, POST, PATCH, DELETE) of one error; its `where` becomes a bad attribute.
[[nodiscard]] Response write_problem(const Error& error);
/// ErrorResponseDefault of a refused write, each problem a bad attribute.
[[nodiscard]] Response write_problem(const producer::Refusal& refusal);
/// ErrorResponseGet of one error; its `where` becomes a bad query parameter.
[[nodiscard]] Response read_problem(const Error& error);

} // namespace muster::rest
