/// What was measured on the real model before a plan is fixed. Source: reference algorithms 1.1.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace muster {

/// Median time of one training step (forward, backward, optimizer) without communication.
struct StepTime {
    std::int64_t batch{};
    double seconds{};
};

/// Peak memory of the worker process at a batch size.
struct PeakMemory {
    std::int64_t batch{};
    std::int64_t bytes{};
};

/// One block of a model that is a chain, measured at the size of a micro-batch.
struct BlockCost {
    std::string name;                ///< for people: "embedding", "block 3", "head"
    double seconds{};                ///< forward and backward of a micro-batch; 0: too large here to be run
    double update_seconds{};         ///< of the optimizer, once a step
    std::int64_t state_bytes{};      ///< weights, gradients and optimizer state
    std::int64_t activation_bytes{}; ///< kept from a micro-batch's forward to its backward
    std::int64_t working_bytes{};    ///< taken besides while backward runs
    std::int64_t input_bytes{};      ///< what a micro-batch's input takes

    bool operator==(const BlockCost&) const = default;
};

/// Measured by one function on one model. Time for three batch sizes, memory for two.
struct Calibration {
    std::vector<StepTime> steps;
    std::vector<PeakMemory> memory;
    std::int64_t parameter_bytes{}; ///< bytes of all trained parameters: what an all-reduce carries
    double latency_seconds{};  ///< of a small all-reduce among the candidates, through the production tunnel; 0 alone
    double bytes_per_second{}; ///< of a large one, bus bandwidth; 0 alone
    double link_cpu_seconds_per_byte{}; ///< own CPU time of a large all-reduce, for each byte that is reduced; 0 alone

    std::int64_t micro_rows{};       ///< rows of the micro-batch of `blocks`
    std::int64_t base_bytes{};       ///< memory of the process without any block
    std::vector<BlockCost> blocks{}; ///< of a model that is a chain; empty: it cannot be cut

    /// t(b) = fixed + per_row * b, Theil-Sen fit over `steps`; both >= 0.
    struct Fit {
        double fixed{};
        double per_row{};
    };
    [[nodiscard]] Fit fit() const;
    /// Peak memory at batch b, from the line through `memory`; at least the largest measured.
    [[nodiscard]] std::int64_t memory_at(std::int64_t batch) const;
};

} // namespace muster
