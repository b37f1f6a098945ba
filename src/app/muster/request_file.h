/// Requests: their files, and how people name them.
#pragma once

#include "app/muster/client.h"
#include "app/muster/verbs.h"
#include "base/result.h"

#include <nlohmann/json.hpp>

#include <string>

namespace muster::app {

/// Where requests go unless --function says otherwise.
inline constexpr const char* default_function = "SubNetwork=1,MLTrainingFunction=mlt";

/// Opens the client that the options name. Errors: as load_client and Client::open.
[[nodiscard]] Result<Client> open_client(const Context& context);

/// Reads the attributes of an MLTrainingRequest. Errors: not_found; invalid_argument with file:line:column.
[[nodiscard]] Result<nlohmann::json> read_request(const std::string& file);

/// DN of the request with this id (or DN). A request that was deleted after its retention is found by its process.
/// Errors: not_found with the nearest id.
[[nodiscard]] Result<std::string> find_request(Client& client, const std::string& id);

/// Names of the objects that stand beside a request.
[[nodiscard]] std::string process_of(const std::string& request_dn);
[[nodiscard]] std::string report_of(const std::string& request_dn);

} // namespace muster::app
