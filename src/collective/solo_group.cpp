#include "collective/solo_group.h"

#include "collective/arguments.h"

#include <cstring>

namespace muster::collective {

void SoloGroup::check_alive() {
    const std::scoped_lock lock{mutex_};
    if (aborted_) {
        throw GroupFailed{"rank 0 aborted the group: " + *aborted_, 0};
    }
}

void SoloGroup::copy(std::span<const std::byte> input, std::span<std::byte> output) {
    check_alive();
    if (!input.empty()) {
        std::memmove(output.data(), input.data(), input.size());
    }
}

void SoloGroup::all_reduce(std::span<std::byte> data, ElementType type, ReduceOp op, WireFormat wire) {
    check_reduction(data.size(), type, op);
    check_wire(type, wire);
    check_alive();
}

void SoloGroup::all_reduce(std::span<std::byte> data, const Reducer& reducer) {
    check_reducer(data.size(), reducer);
    check_alive();
}

void SoloGroup::reduce(std::span<std::byte> data, ElementType type, ReduceOp op, int root) {
    check_reduction(data.size(), type, op);
    check_root(root, 1);
    check_alive();
}

void SoloGroup::reduce_scatter(std::span<const std::byte> input,
                               std::span<std::byte> output,
                               std::span<const std::size_t> lengths,
                               ElementType type,
                               ReduceOp op) {
    check_reduction(input.size(), type, op);
    check_blocks("reduce_scatter", input.size(), output.size(), lengths, 0, 1);
    copy(input, output);
}

void SoloGroup::reduce_scatter(std::span<const std::byte> input,
                               std::span<std::byte> output,
                               std::span<const std::size_t> lengths,
                               const Reducer& reducer) {
    check_reducer(input.size(), reducer);
    check_blocks("reduce_scatter", input.size(), output.size(), lengths, 0, 1);
    copy(input, output);
}

void SoloGroup::broadcast(std::span<std::byte> /*data*/, int root) {
    check_root(root, 1);
    check_alive();
}

void SoloGroup::all_gather(std::span<const std::byte> input,
                           std::span<std::byte> output,
                           std::span<const std::size_t> lengths) {
    check_blocks("all_gather", output.size(), input.size(), lengths, 0, 1);
    copy(input, output);
}

void SoloGroup::gather(std::span<const std::byte> input,
                       std::span<std::byte> output,
                       std::span<const std::size_t> lengths,
                       int root) {
    check_root(root, 1);
    check_blocks("gather", output.size(), input.size(), lengths, 0, 1);
    copy(input, output);
}

void SoloGroup::scatter(std::span<const std::byte> input,
                        std::span<std::byte> output,
                        std::span<const std::size_t> lengths,
                        int root) {
    check_root(root, 1);
    check_blocks("scatter", input.size(), output.size(), lengths, 0, 1);
    copy(input, output);
}

void SoloGroup::all_to_all(std::span<const std::byte> input,
                           std::span<const std::size_t> send_lengths,
                           std::span<std::byte> output,
                           std::span<const std::size_t> receive_lengths) {
    check_lengths("all_to_all", input.size(), send_lengths, 1);
    check_lengths("all_to_all", output.size(), receive_lengths, 1);
    check_own_block(input.size(), output.size());
    copy(input, output);
}

std::unique_ptr<Transfer> SoloGroup::send(std::span<const std::byte> /*data*/, int peer, std::uint64_t /*tag*/) {
    check_peer(peer, 0, 1);
    return {};
}

std::unique_ptr<Transfer> SoloGroup::receive(std::span<std::byte> /*data*/, int peer, std::uint64_t /*tag*/) {
    check_peer(peer, 0, 1);
    return {};
}

std::unique_ptr<Group> SoloGroup::subgroup(const std::string& /*name*/, std::span<const int> ranks) {
    check_subgroup(ranks, 0, 1);
    check_alive();
    return std::make_unique<SoloGroup>();
}

void SoloGroup::abort(const std::string& reason) {
    const std::scoped_lock lock{mutex_};
    if (!aborted_) {
        aborted_ = reason;
    }
}

} // namespace muster::collective
