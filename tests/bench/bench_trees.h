/// Boosted trees of `muster-bench trees`.
#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>

namespace muster::bench {

/// A table in one file, and what is grown on it.
struct TreeTask {
    std::string file{};       ///< float32 [rows, columns + 1], the target last
    std::int64_t columns{40}; ///< inputs
    int members{1};           ///< over mutual TLS on loopback, each in a thread
    int trees{20};            ///< that are timed; as many as a quarter of them come before
};

/// Trains with LightGBM's l2 over our collectives, one thread a member. {"seconds_per_tree", "rmse" on the rows}
[[nodiscard]] nlohmann::json time_trees(const TreeTask& task);

} // namespace muster::bench
