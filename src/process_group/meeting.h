/// How the ranks of a job that know only rank 0's address find each other, and become a group.
#pragma once

#include "base/clock.h"
#include "base/fd.h"
#include "collective/group.h"
#include "process_group/membership.h"

#include <torch/csrc/distributed/c10d/Store.hpp>

#include <functional>
#include <memory>
#include <string>

namespace muster::process_group {

/// A listening TCP socket and where it listens.
struct Listener {
    UniqueFd fd{};
    std::string host{}; ///< as it was asked for
    int port{};

    /// "host:port" or "[v6]:port".
    [[nodiscard]] std::string address() const;
};

/// Listens on `host`, a name or an address of this machine; port 0: any free one.
/// Errors: invalid_argument, a host that is not this machine's; unavailable, a port in use.
[[nodiscard]] Result<Listener> listen_on(const std::string& host, int port);

/// Connects all ranks of `membership`. Each listens on `host` and leaves its address in `store`. Addresses are all that
/// is taken from there: who answers must prove to be the rank that it was dialled for, and to have the same `session`.
/// Errors: those of listen_on and collective::Group::connect. Throws what the store throws.
[[nodiscard]] Result<std::shared_ptr<collective::Group>> meet(c10d::Store& store,
                                                              const Membership& membership,
                                                              const std::string& session,
                                                              const std::string& host,
                                                              Duration operation_timeout,
                                                              std::function<void(const std::string&)> on_refusal,
                                                              Deadline deadline);

} // namespace muster::process_group
