/// A model's part at one function, when the model is cut into stages (pipeline parallelism).
#pragma once

#include <cstdint>

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

} // namespace muster
