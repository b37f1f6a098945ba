/// For tests: N real groups over mutual TLS on the loopback interface, one thread for each rank.
#pragma once

#include "collective/group.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace muster::process_group::testing {

/// A listening TCP socket on 127.0.0.1 and its address, "127.0.0.1:port".
struct Listener {
    UniqueFd fd;
    std::string address;
};
[[nodiscard]] Listener listen_on_loopback();

/// What each rank of a job needs, with certificates of one job CA.
[[nodiscard]] std::vector<collective::GroupSpec> make_specs(const std::vector<Listener>& listeners,
                                                            Duration operation_timeout);

/// Connects `ranks` groups and runs `body(group)` for each on a thread of its own. Throws what a body threw (the
/// lowest rank's), after all have ended.
void run_ranks(int ranks,
               const std::function<void(std::shared_ptr<collective::Group>)>& body,
               Duration operation_timeout = std::chrono::seconds{20});

} // namespace muster::process_group::testing
