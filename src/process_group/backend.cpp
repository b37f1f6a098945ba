#include "process_group/backend.h"

#include "base/assert.h"
#include "process_group/staged_backend.h"

#include <torch/csrc/distributed/c10d/HashStore.hpp>

#include <algorithm>

namespace muster::process_group {

MusterBackend::MusterBackend(std::shared_ptr<collective::Group> group, std::shared_ptr<Executor> executor)
    : c10d::Backend{group->rank(), group->size()}, executor_{std::move(executor)},
      queue_{std::make_shared<OperationQueue>(std::move(group), executor_)}, mover_{
                                                                                 std::make_shared<Mover>(executor_)} {
    init();
}

MusterBackend::~MusterBackend() {
    shutdown();
}

void MusterBackend::abort() {
    queue_->group()->abort(c10::str("rank ", rank_, " aborted its process group"));
}

void MusterBackend::shutdown() {
    queue_->close();
    mover_->close();
}

c10::intrusive_ptr<c10d::Backend::Options> MusterBackend::getBackendOptions() {
    return c10::make_intrusive<Options>("muster", queue_->timeout());
}

void MusterBackend::setTimeout(std::chrono::milliseconds timeout) {
    queue_->set_timeout(timeout);
}

uint64_t MusterBackend::getSequenceNumberForGroup() {
    return queue_->sequence();
}

c10d::ErrorType MusterBackend::getError() {
    return queue_->failed() ? c10d::ErrorType::COMM_ERROR : c10d::ErrorType::SUCCESS;
}

c10::intrusive_ptr<c10d::Backend> MusterBackend::split(const c10::intrusive_ptr<c10d::Store>& /*store*/,
                                                       const std::vector<int>& ranks,
                                                       const c10::intrusive_ptr<Options>& options) {
    if (std::ranges::find(ranks, rank_) == ranks.end()) {
        return nullptr;
    }
    auto made = subgroup(options->group_name, ranks, options->timeout);
    made->setGroupUid(options->group_name);
    return made;
}

c10::intrusive_ptr<MusterBackend>
MusterBackend::subgroup(const std::string& name, const std::vector<int>& ranks, std::chrono::milliseconds timeout) {
    TORCH_CHECK(!queue_->closed(), "Backend muster was shut down");
    // The members have all made as many groups of this name, so they agree on the number.
    const int use = uses_.with([&](std::map<std::string, int>& uses) { return uses[name]++; });
    auto made =
        c10::make_intrusive<MusterBackend>(queue_->group()->subgroup(c10::str(name, "#", use), ranks), executor_);
    made->setTimeout(timeout);
    return made;
}

c10::intrusive_ptr<c10d::ProcessGroup> make_process_group(std::shared_ptr<collective::Group> group,
                                                          at::DeviceType device) {
    MUSTER_ASSERT(group != nullptr);
    const int rank = group->rank();
    const int size = group->size();
    const auto store = c10::make_intrusive<c10d::HashStore>();
    auto made = c10::make_intrusive<c10d::ProcessGroup>(store, rank, size);
    auto backend = c10::make_intrusive<MusterBackend>(std::move(group), std::make_shared<Executor>());
    if (device != at::kCPU) {
        // One of each type of backend fits into a group; this one has no type of its own.
        made->setBackend(
            device, c10d::ProcessGroup::BackendType::UNDEFINED, c10::make_intrusive<StagedBackend>(backend));
    }
    made->setBackend(at::kCPU, c10d::ProcessGroup::BackendType::CUSTOM, std::move(backend));
    made->setDefaultBackend(c10d::ProcessGroup::BackendType::CUSTOM);
    made->setGroupName("muster");
    return made;
}

} // namespace muster::process_group
