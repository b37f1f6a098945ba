/// A function and what it has measured of a chain of blocks, for tests. Only tests include it.
#pragma once

#include "planner/planner.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace muster::planner {

inline constexpr std::int64_t mb = 1'000'000;

/// A function that has measured a chain of an embedding, `layers` blocks and a head, each block 10 ms and 40 MB of
/// state at speed 1, with micro-batches of 4 of 32 rows.
inline Candidate chain_function(const std::string& name, double speed, std::int64_t memory_mb, int layers = 10) {
    Candidate candidate{.dn = "MLTrainingFunction=" + name, .memory_bytes = memory_mb * mb, .cpu_cores = 1.0};
    Calibration& measured = candidate.calibration;
    measured.micro_rows = 4;
    measured.base_bytes = 36 * mb; // 100 MB with what a group takes
    measured.bytes_per_second = 1e9;
    const auto add = [&](const std::string& block, double seconds, std::int64_t state_mb) {
        measured.blocks.push_back({.name = block,
                                   .seconds = seconds / speed,
                                   .update_seconds = 0.2 * seconds / speed,
                                   .state_bytes = state_mb * mb,
                                   .activation_bytes = 5 * mb,
                                   .working_bytes = 4 * mb,
                                   .input_bytes = mb / 2});
    };
    add("embedding", 0.001, 20);
    for (int i = 1; i <= layers; ++i) {
        add("block " + std::to_string(i), 0.01, 40);
    }
    add("head", 0.004, 20);
    const double whole = 0.105 * static_cast<double>(layers) / 10.0 / speed;
    measured.parameter_bytes = (20 + 40 * layers + 20) * mb / 4;
    for (const std::int64_t batch : {4, 8, 16}) {
        measured.steps.push_back({batch, whole * static_cast<double>(batch) / 4.0});
    }
    measured.memory = {{4, 100 * mb + 4 * measured.parameter_bytes + 60 * mb},
                       {16, 100 * mb + 4 * measured.parameter_bytes + 240 * mb}};
    return candidate;
}

inline Question question_of(std::vector<Candidate> candidates) {
    return {.candidates = std::move(candidates), .batch = 32, .steps = 100};
}

inline const PlanCandidate& chosen(const Result<Plan>& plan) {
    return plan->chosen_candidate();
}

} // namespace muster::planner
