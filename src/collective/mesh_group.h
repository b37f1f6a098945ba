/// MeshGroup: Group over the connections of a mesh.
#pragma once

#include "collective/channel.h"
#include "collective/group.h"
#include "collective/join.h"
#include "collective/reduction.h"

#include <memory>
#include <span>
#include <string>
#include <vector>

namespace muster::collective {

class MeshGroup final : public Group {
public:
    explicit MeshGroup(std::shared_ptr<Channel> channel) : channel_{std::move(channel)} {}
    /// The group of all ranks over ready connections. `spec` was checked.
    MeshGroup(const GroupSpec& spec, Edges edges);

    /// The first barrier: all ranks have all their connections.
    void meet(Deadline deadline);

    [[nodiscard]] int rank() const override { return channel_->rank(); }
    [[nodiscard]] int size() const override { return channel_->size(); }
    void all_reduce(std::span<std::byte> data, ElementType type, ReduceOp op, WireFormat wire) override;
    void all_reduce(std::span<std::byte> data, const Reducer& reducer) override;
    void reduce(std::span<std::byte> data, ElementType type, ReduceOp op, int root) override;
    void reduce_scatter(std::span<const std::byte> input,
                        std::span<std::byte> output,
                        std::span<const std::size_t> lengths,
                        ElementType type,
                        ReduceOp op) override;
    void reduce_scatter(std::span<const std::byte> input,
                        std::span<std::byte> output,
                        std::span<const std::size_t> lengths,
                        const Reducer& reducer) override;
    void broadcast(std::span<std::byte> data, int root) override;
    void all_gather(std::span<const std::byte> input,
                    std::span<std::byte> output,
                    std::span<const std::size_t> lengths) override;
    void gather(std::span<const std::byte> input,
                std::span<std::byte> output,
                std::span<const std::size_t> lengths,
                int root) override;
    void scatter(std::span<const std::byte> input,
                 std::span<std::byte> output,
                 std::span<const std::size_t> lengths,
                 int root) override;
    void all_to_all(std::span<const std::byte> input,
                    std::span<const std::size_t> send_lengths,
                    std::span<std::byte> output,
                    std::span<const std::size_t> receive_lengths) override;
    void barrier() override;
    [[nodiscard]] std::unique_ptr<Transfer> send(std::span<const std::byte> data, int peer, std::uint64_t tag) override;
    [[nodiscard]] std::unique_ptr<Transfer> receive(std::span<std::byte> data, int peer, std::uint64_t tag) override;
    [[nodiscard]] std::unique_ptr<Group> subgroup(const std::string& name, std::span<const int> ranks) override;
    void abort(const std::string& reason) override { channel_->abort(reason); }
    [[nodiscard]] GroupTraffic traffic() const override { return channel_->mesh().traffic(); }
    [[nodiscard]] std::vector<EdgeMetrics> edges() const override { return channel_->mesh().edges(); }

private:
    void reduce_all(std::span<std::byte> data, const Reduction& reduction, WireFormat wire);
    void reduce_without_ring(std::span<std::byte> data, const Reduction& reduction);
    void reduce_on_ring(std::span<std::byte> data, const Reduction& reduction, WireFormat wire);
    void scatter_reduced(std::span<const std::byte> input,
                         std::span<std::byte> output,
                         std::span<const std::size_t> lengths,
                         const Reduction& reduction);
    [[nodiscard]] Path path_for(std::size_t bytes) const;
    [[nodiscard]] std::size_t whole_segment(std::size_t element_bytes) const;

    std::shared_ptr<Channel> channel_;
};

} // namespace muster::collective
