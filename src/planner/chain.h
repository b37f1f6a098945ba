/// What a run of blocks costs as a stage on a function: time and memory.
/// Source: reference algorithms 1.2 (memory of 1F1B).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace muster::planner {

/// One block of the chain; times and sizes are of one micro-batch.
struct ChainBlock {
    std::string name;                ///< as the model calls it, for refusals
    double seconds{};                ///< forward and backward at speed 1
    double update_seconds{};         ///< of the optimizer at speed 1, once a step
    std::int64_t state_bytes{};      ///< weights, gradients and optimizer state
    std::int64_t activation_bytes{}; ///< kept from forward to backward
    std::int64_t input_bytes{};      ///< what it gets from the block before it, and returns the gradient of
};

/// A function that may hold a stage.
struct StageFunction {
    double speed{1.0};           ///< above 0; 2: takes half of a block's seconds
    std::int64_t memory_bytes{}; ///< it offers; 0: no limit known
    std::int64_t base_bytes{};   ///< its process takes without any block
    double bytes_per_second{};   ///< of its link; 0: not measured, which counts as free
    bool may_be_first{true};     ///< it holds the rows, which the first block takes
};

/// A run of blocks on one function.
struct Stage {
    std::size_t function{};
    std::size_t begin{}; ///< first block
    std::size_t end{};   ///< past the last one
    double seconds{};    ///< of one micro-batch, passing on what it computed included
    std::int64_t memory_bytes{};
    bool recompute{}; ///< keeps a micro-batch's input only and runs forward again before backward

    bool operator==(const Stage&) const = default;
};

/// Sums over runs of blocks in O(1). `blocks` outlive it.
class Chain {
public:
    /// `micro_batches` is the most that a step has, which memory is counted for; `update_pieces` of them share the time
    /// of the optimizer, at least one.
    Chain(std::span<const ChainBlock> blocks, int micro_batches, double update_pieces);

    [[nodiscard]] std::size_t size() const { return blocks_.size(); }
    [[nodiscard]] const ChainBlock& block(std::size_t index) const { return blocks_[index]; }

    /// Blocks begin to end - 1 on a function with `after` stages behind it; nothing, when memory does not allow it or
    /// the function may not be first.
    [[nodiscard]] std::optional<Stage>
    stage(const StageFunction& function, std::size_t begin, std::size_t end, std::size_t after) const;

    /// The least that a function's process needs for one block on its own, as the last stage.
    [[nodiscard]] std::int64_t least_memory(const StageFunction& function, std::size_t index) const;

    /// At speed 1, of one micro-batch.
    [[nodiscard]] double seconds(std::size_t begin, std::size_t end) const { return seconds_[end] - seconds_[begin]; }
    [[nodiscard]] std::int64_t state_bytes(std::size_t begin, std::size_t end) const {
        return state_[end] - state_[begin];
    }

private:
    [[nodiscard]] std::int64_t memory_bytes(
        const StageFunction& function, std::size_t begin, std::size_t end, std::size_t after, bool recompute) const;
    [[nodiscard]] double link_seconds(const StageFunction& function, std::size_t end) const;

    std::span<const ChainBlock> blocks_;
    int micro_batches_;
    std::vector<double> seconds_;
    std::vector<std::int64_t> state_;
    std::vector<std::int64_t> activation_;
};

} // namespace muster::planner
