/// A model's part at one function, when the model is cut into stages (pipeline parallelism).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace muster {

/// A run of consecutive blocks of a model that is a chain of blocks.
struct ModelStage {
    std::int64_t first_block{};
    std::int64_t blocks{}; ///< 0: the whole model
    bool recompute{};      ///< keeps a micro-batch's input only and computes forward again before backward

    [[nodiscard]] bool whole() const { return blocks == 0; }
    [[nodiscard]] std::int64_t end() const { return first_block + blocks; }

    bool operator==(const ModelStage&) const = default;
};

/// Number of stages of one replica of the model, where the members hold `stages` in the order of their ranks: replicas
/// follow one another, and each begins with the first block.
[[nodiscard]] inline std::size_t stages_of_replica(std::span<const ModelStage> stages) {
    std::size_t count = stages.empty() ? 0 : 1;
    while (count < stages.size() && stages[count].first_block != 0) {
        ++count;
    }
    return count;
}

} // namespace muster
