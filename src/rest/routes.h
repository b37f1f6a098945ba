/// Every route of the producer's port, in one table.
#pragma once

#include "rest/call.h"
#include "rest/server.h"

#include <mutex>
#include <span>
#include <string_view>

namespace muster::rest {

/// What a route asks of its caller before its handler runs.
enum class Needs {
    nothing,     ///< not even a certificate
    certificate, ///< anybody the gate admits
    function,    ///< a training function
    permission,  ///< a row of the policy that allows `operation`, of no particular object
    upload,      ///< a training function, the permission, or that to add recipes
    download,    ///< the permission, or a training function in a job with that archive
    by_object    ///< the handler asks the policy, since it knows the object
};

/// One row.
struct Route {
    std::string_view method;
    std::string_view pattern; ///< {} stands for one segment, ** for the rest
    Needs needs;
    auth::Operation operation; ///< for permission, upload and download; otherwise for the audit log
    Response (*handler)(const Call&);
    std::string_view source; ///< clause of the standard, or where it is described
};

/// The table.
[[nodiscard]] std::span<const Route> routes();

/// Finds the row, asks the gate, calls the handler, writes the audit log. Safe from any thread. Outlives the server and
/// the function server's last step().
class Router {
public:
    explicit Router(World world) : world_{std::move(world)} {}

    /// The server's handler.
    [[nodiscard]] Response handle(const Request& request);
    /// The server's decision about a WebSocket: training functions only.
    [[nodiscard]] UpgradeAnswer upgrade(const Request& request);

private:
    [[nodiscard]] Response dispatch(const Request& request, Call& call);
    [[nodiscard]] std::optional<Response> refuse(const Route& route, Call& call) const;
    [[nodiscard]] Result<void> still_admitted(const tls::Identity& who, const std::string& serial) const;
    [[nodiscard]] bool audit(const Call& call, std::string_view operation, const Response& response);

    World world_;
    std::mutex mutex_;
    bool audit_down_{false}; ///< writes are refused until the audit log takes records again
};

} // namespace muster::rest
