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

/// Measured by one function on one model. Time for three batch sizes, memory for two.
struct Calibration {
    std::vector<StepTime> steps;
    std::vector<PeakMemory> memory;
    std::int64_t parameter_bytes{}; ///< bytes of all trained parameters: what an all-reduce carries
    double latency_seconds{};  ///< of a small all-reduce among the candidates, through the production tunnel; 0 alone
    double bytes_per_second{}; ///< of a large one, bus bandwidth; 0 alone
    double link_cpu_seconds_per_byte{}; ///< own CPU time of a large all-reduce, for each byte that is reduced; 0 alone

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
