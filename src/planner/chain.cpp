#include "planner/chain.h"

#include <algorithm>

namespace muster::planner {
namespace {

/// Forward is a third of forward and backward; recomputing does it twice.
constexpr double recompute_factor = 4.0 / 3.0;

} // namespace

Chain::Chain(std::span<const ChainBlock> blocks, int micro_batches, double update_pieces)
    : blocks_{blocks}, micro_batches_{micro_batches}, seconds_(blocks.size() + 1), state_(blocks.size() + 1),
      activation_(blocks.size() + 1) {
    for (std::size_t i = 0; i < blocks.size(); ++i) {
        seconds_[i + 1] = seconds_[i] + blocks[i].seconds + blocks[i].update_seconds / update_pieces;
        state_[i + 1] = state_[i] + blocks[i].state_bytes;
        activation_[i + 1] = activation_[i] + blocks[i].activation_bytes;
    }
}

std::optional<Stage>
Chain::stage(const StageFunction& function, std::size_t begin, std::size_t end, std::size_t after) const {
    if (begin == 0 && !function.may_be_first) {
        return std::nullopt;
    }
    for (const bool recompute : {false, true}) {
        const auto memory = memory_bytes(function, begin, end, after, recompute);
        if (function.memory_bytes <= 0 || memory <= function.memory_bytes) {
            const double compute = seconds(begin, end) / function.speed;
            return Stage{.begin = begin,
                         .end = end,
                         .seconds = compute * (recompute ? recompute_factor : 1.0) + link_seconds(function, end),
                         .memory_bytes = memory,
                         .recompute = recompute};
        }
    }
    return std::nullopt;
}

std::int64_t Chain::least_memory(const StageFunction& function, std::size_t index) const {
    return std::min(memory_bytes(function, index, index + 1, 0, false),
                    memory_bytes(function, index, index + 1, 0, true));
}

/// Under 1F1B a stage holds a micro-batch for itself and for each stage behind it (algorithms 1.2).
std::int64_t Chain::memory_bytes(
    const StageFunction& function, std::size_t begin, std::size_t end, std::size_t after, bool recompute) const {
    const auto held = static_cast<std::int64_t>(std::min(static_cast<std::size_t>(micro_batches_), after + 1));
    const std::int64_t activation = activation_[end] - activation_[begin];
    const std::int64_t kept = recompute ? held * blocks_[begin].input_bytes + activation : held * activation;
    return function.base_bytes + state_bytes(begin, end) + kept;
}

/// Outputs forth and their gradients back.
double Chain::link_seconds(const StageFunction& function, std::size_t end) const {
    if (end == blocks_.size() || function.bytes_per_second <= 0.0) {
        return 0.0;
    }
    return 2.0 * static_cast<double>(blocks_[end].input_bytes) / function.bytes_per_second;
}

} // namespace muster::planner
