/// A group of one rank: it has nobody to talk to but itself.
#pragma once

#include "collective/group.h"

#include <mutex>
#include <optional>
#include <string>

namespace muster::collective {

class SoloGroup final : public Group {
public:
    [[nodiscard]] int rank() const override { return 0; }
    [[nodiscard]] int size() const override { return 1; }
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
    void barrier() override { check_alive(); }
    /// There is no other rank: throws std::invalid_argument.
    [[nodiscard]] std::unique_ptr<Transfer> send(std::span<const std::byte> data, int peer, std::uint64_t tag) override;
    [[nodiscard]] std::unique_ptr<Transfer> receive(std::span<std::byte> data, int peer, std::uint64_t tag) override;
    [[nodiscard]] std::unique_ptr<Group> subgroup(const std::string& name, std::span<const int> ranks) override;
    void abort(const std::string& reason) override;
    [[nodiscard]] GroupTraffic traffic() const override { return {}; }
    [[nodiscard]] std::vector<EdgeMetrics> edges() const override { return {}; }

private:
    void check_alive();
    void copy(std::span<const std::byte> input, std::span<std::byte> output);

    std::mutex mutex_;
    std::optional<std::string> aborted_{}; ///< under mutex_
};

} // namespace muster::collective
