/// How every verb that asks the producer begins.
#pragma once

#include "app/muster/client.h"
#include "app/muster/request_file.h"
#include "app/muster/verbs.h"

#include <string>

namespace muster::app {

/// Runs `work` with the client that the options name; returns its exit code, or that of the error.
template <typename Work>
[[nodiscard]] int with_client(const Context& context, Work work) {
    auto client = open_client(context);
    return client ? work(*client) : report(client.error());
}

/// The same with the DN of the request that `id` names.
template <typename Work>
[[nodiscard]] int with_request(const Context& context, const std::string& id, Work work) {
    return with_client(context, [&](Client& client) {
        auto dn = find_request(client, id);
        return dn ? work(client, *dn) : report(dn.error());
    });
}

} // namespace muster::app
