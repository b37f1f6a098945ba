/// What muster-bench times: a bare loop, the trainer alone and in a group, and how equal their models are.
#pragma once

#include "model/recipe.h"
#include "worker/matrix.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace muster::bench {

/// An encoded matrix (muster-data leaves it) and how it was encoded.
struct Problem {
    Recipe recipe;
    Preprocessing preprocessing;
    worker::MatrixSet matrices;
};

/// How long to measure.
struct Length {
    std::int64_t warm_up{10}; ///< steps
    std::int64_t steps{200};  ///< timed, after those
};

/// Seconds of the timed steps of the loop that anybody would write in C++: rows picked by index_select, forward, loss,
/// backward and the same optimizer, on the module that the product trains. Uses the calling thread.
[[nodiscard]] double bare_seconds(const Problem& problem, Length length);

/// Seconds of the timed steps of the product's trainer, one function alone. Throws std::runtime_error when it refuses.
[[nodiscard]] double trainer_seconds(const Problem& problem, Length length);

/// Seconds of the timed steps of the product's trainer with one process for each of `shares` (rows of a batch), which
/// talk over mutual TLS on loopback: the slowest one's. Each computes with `threads` threads. Call it before torch has
/// started threads in this process. Throws std::runtime_error when a process fails.
[[nodiscard]] double
group_seconds(const Problem& problem, Length length, std::vector<std::int64_t> shares, int threads);

/// Trains `steps` steps alone and then with each of `divisions` (shares, over mutual TLS); returns the largest
/// |parameters - parameters alone| / |parameters alone| of any tensor.
[[nodiscard]] double
largest_difference(const Problem& problem, std::int64_t steps, const std::vector<std::vector<std::int64_t>>& divisions);

} // namespace muster::bench
