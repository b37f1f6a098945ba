/// Reads a struct of wire/structs.h, exceptions turned into a Result.
#pragma once

#include "base/result.h"
#include "wire/structs.h"

namespace muster::wire {

/// Errors: invalid_argument, "what: reason".
template <typename T>
Result<T> read_struct(const nlohmann::json& json, const char* what) {
    try {
        return json.get<T>();
    } catch (const nlohmann::json::exception& problem) {
        return Error{ErrorCode::invalid_argument, std::string{what} + ": " + problem.what()};
    }
}

} // namespace muster::wire
