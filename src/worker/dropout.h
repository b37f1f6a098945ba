/// Dropout whose choices belong to the sample and not to the member that computes it.
#pragma once

#include <cstdint>
#include <string>

namespace muster::worker {

/// While it lives, the networks that the calling thread runs drop numbers as training does; without one they drop
/// none. What is dropped depends on the seed, the step, the row's place in the global batch, the place in the network
/// and nothing else: shares, micro-batches and what is computed twice give the same. One at a time on a thread.
class DropoutScope {
public:
    /// `first_row`: place in the global batch of the first row that forward gets.
    DropoutScope(std::uint64_t seed, std::int64_t step, std::int64_t first_row);
    ~DropoutScope();
    DropoutScope(const DropoutScope&) = delete;
    DropoutScope& operator=(const DropoutScope&) = delete;

    /// Whether there is one on the calling thread, which means that what it runs is training.
    [[nodiscard]] static bool is_alive();
};

/// A call for the source of a network, "muster.dropout(x, 3, 0.1)", which answers x [rows, ...] with numbers set to 0
/// with `probability`, the others divided by 1 - `probability`; `x` itself where that is 0. `site` tells the places of
/// a network apart. Sources that have it are defined with operator_resolver().
[[nodiscard]] std::string dropout_call(const std::string& x, std::int64_t site, double probability);

} // namespace muster::worker
