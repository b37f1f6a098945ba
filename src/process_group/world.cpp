#include "process_group/world.h"

#include "process_group/meeting.h"

#include <c10/util/Exception.h>

namespace muster::process_group {
namespace {

std::shared_ptr<collective::Group> met(Result<std::shared_ptr<collective::Group>> group) {
    if (!group) {
        C10_THROW_ERROR(DistBackendError, group.error().text());
    }
    return std::move(group).value();
}

} // namespace

World::World(c10::intrusive_ptr<RemoteStore> store,
             const std::string& host,
             std::chrono::milliseconds timeout,
             std::function<void(const std::string&)> on_refusal)
    : store_{std::move(store)}, group_{met(meet(*store_,
                                                store_->membership(),
                                                store_->session(),
                                                host.empty() ? store_->own_host() : host,
                                                timeout,
                                                std::move(on_refusal),
                                                Deadline::after(timeout)))},
      all_{c10::intrusive_ptr<MusterBackend>{}} {}

c10::intrusive_ptr<MusterBackend> World::backend() {
    auto made = c10::make_intrusive<MusterBackend>(group_, executor_);
    all_ = c10::weak_intrusive_ptr<MusterBackend>{made};
    return made;
}

c10::intrusive_ptr<MusterBackend>
World::subgroup(const std::string& name, const std::vector<int>& ranks, std::chrono::milliseconds timeout) {
    const auto all = all_.lock();
    TORCH_CHECK(all, "Backend muster has no group of all ranks any more");
    return all->subgroup(name, ranks, timeout);
}

bool World::closed() const {
    const auto all = all_.lock();
    return !all || all->queue()->closed();
}

} // namespace muster::process_group
