#include "collective/solo_group.h"

#include "collective/arguments.h"

#include <cstring>

namespace muster::collective {

void SoloGroup::check_alive() {
    const std::scoped_lock lock{mutex_};
    if (aborted_) {
        throw GroupFailed{"the group of one rank was aborted: " + *aborted_, 0};
    }
}

void SoloGroup::all_reduce(std::span<std::byte> data, ElementType type, ReduceOp /*op*/) {
    check_all_reduce(data, type);
    check_alive();
}

void SoloGroup::broadcast(std::span<std::byte> /*data*/, int root) {
    check_root(root, 1);
    check_alive();
}

void SoloGroup::all_gather(std::span<const std::byte> input,
                           std::span<std::byte> output,
                           std::span<const std::size_t> lengths) {
    check_all_gather(input, output, lengths, 0, 1);
    check_alive();
    if (!input.empty()) {
        std::memmove(output.data(), input.data(), input.size());
    }
}

void SoloGroup::abort(const std::string& reason) {
    const std::scoped_lock lock{mutex_};
    if (!aborted_) {
        aborted_ = reason;
    }
}

} // namespace muster::collective
