/// World: all ranks of a job as one of them sees it, for programs that have nothing but rank 0's address.
#pragma once

#include "collective/group.h"
#include "process_group/backend.h"
#include "process_group/executor.h"
#include "process_group/remote_store.h"

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace muster::process_group {

/// Safe from any thread, except that groups are made in the same order on all their ranks, as c10d demands anyway.
class World {
public:
    /// Connects the ranks of the store's membership, each listening on `host` (empty: the address from which it reaches
    /// rank 0). `timeout` bounds this, and later each operation. Throws c10::DistBackendError, saying who and why.
    World(c10::intrusive_ptr<RemoteStore> store,
          const std::string& host,
          std::chrono::milliseconds timeout,
          std::function<void(const std::string&)> on_refusal);

    /// The backend of all ranks. Call once.
    [[nodiscard]] c10::intrusive_ptr<MusterBackend> backend();
    /// As MusterBackend::subgroup of that. Throws c10::Error when it is gone or was shut down.
    [[nodiscard]] c10::intrusive_ptr<MusterBackend>
    subgroup(const std::string& name, const std::vector<int>& ranks, std::chrono::milliseconds timeout);

    /// True once the backend of all ranks was shut down.
    [[nodiscard]] bool closed() const;
    [[nodiscard]] std::vector<collective::EdgeMetrics> edges() const { return group_->edges(); }
    /// Threads of collectives that exist now.
    [[nodiscard]] std::size_t threads() const { return executor_->threads(); }

private:
    c10::intrusive_ptr<RemoteStore> store_;
    std::shared_ptr<Executor> executor_{std::make_shared<Executor>()};
    std::shared_ptr<collective::Group> group_;
    c10::weak_intrusive_ptr<MusterBackend> all_;
};

} // namespace muster::process_group
