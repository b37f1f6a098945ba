#include "planner/stages.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <optional>

namespace muster::planner {
namespace {

constexpr double never = std::numeric_limits<double>::infinity();
/// Forward is a third of forward and backward; recomputing does it twice.
constexpr double recompute_factor = 4.0 / 3.0;
constexpr std::size_t all_orders_max = 6;
constexpr int exchange_rounds_max = 8;

/// Sums over runs of blocks in O(1).
class Chain {
public:
    Chain(std::span<const ChainBlock> blocks, int micro_batches)
        : blocks_{blocks}, micro_batches_{micro_batches}, seconds_(blocks.size() + 1), state_(blocks.size() + 1),
          activation_(blocks.size() + 1) {
        for (std::size_t i = 0; i < blocks.size(); ++i) {
            seconds_[i + 1] = seconds_[i] + blocks[i].seconds;
            state_[i + 1] = state_[i] + blocks[i].state_bytes;
            activation_[i + 1] = activation_[i] + blocks[i].activation_bytes;
        }
    }

    [[nodiscard]] std::size_t size() const { return blocks_.size(); }
    [[nodiscard]] const ChainBlock& block(std::size_t index) const { return blocks_[index]; }

    /// Blocks begin to end - 1 on a function with `after` stages behind it; nothing, when memory does not allow it or
    /// the function may not be first.
    [[nodiscard]] std::optional<Stage>
    stage(const StageFunction& function, std::size_t begin, std::size_t end, std::size_t after) const {
        if (begin == 0 && !function.may_be_first) {
            return std::nullopt;
        }
        for (const bool recompute : {false, true}) {
            const auto memory = memory_bytes(function, begin, end, after, recompute);
            if (function.memory_bytes <= 0 || memory <= function.memory_bytes) {
                const double compute = (seconds_[end] - seconds_[begin]) / function.speed;
                return Stage{.begin = begin,
                             .end = end,
                             .seconds = compute * (recompute ? recompute_factor : 1.0) + link_seconds(function, end),
                             .memory_bytes = memory,
                             .recompute = recompute};
            }
        }
        return std::nullopt;
    }

    /// The least that a function's process needs for one block on its own, as the last stage.
    [[nodiscard]] std::int64_t least_memory(const StageFunction& function, std::size_t index) const {
        return std::min(memory_bytes(function, index, index + 1, 0, false),
                        memory_bytes(function, index, index + 1, 0, true));
    }

private:
    /// Under 1F1B a stage holds a micro-batch for itself and for each stage behind it (algorithms 1.2).
    [[nodiscard]] std::int64_t memory_bytes(
        const StageFunction& function, std::size_t begin, std::size_t end, std::size_t after, bool recompute) const {
        const auto held = static_cast<std::int64_t>(std::min(static_cast<std::size_t>(micro_batches_), after + 1));
        const std::int64_t activation = activation_[end] - activation_[begin];
        const std::int64_t kept = recompute ? held * blocks_[begin].input_bytes + activation : held * activation;
        return function.base_bytes + state_[end] - state_[begin] + kept;
    }

    /// Outputs forth and their gradients back.
    [[nodiscard]] double link_seconds(const StageFunction& function, std::size_t end) const {
        if (end == blocks_.size() || function.bytes_per_second <= 0.0) {
            return 0.0;
        }
        return 2.0 * static_cast<double>(blocks_[end].input_bytes) / function.bytes_per_second;
    }

    std::span<const ChainBlock> blocks_;
    int micro_batches_;
    std::vector<double> seconds_;
    std::vector<std::int64_t> state_;
    std::vector<std::int64_t> activation_;
};

/// The dynamic programme over (functions left, stages left, blocks left), for functions in one order.
class Programme {
public:
    Programme(const Chain& chain, std::span<const StageFunction> functions, std::span<const std::size_t> order)
        : chain_{chain}, functions_{functions}, order_{order} {}

    /// The best cut into exactly `stages` stages; nothing, when there is none.
    [[nodiscard]] std::optional<std::vector<Stage>> best(std::size_t stages) {
        const double slowest = solve(stages, never, [](double a, double b) { return std::max(a, b); });
        if (slowest == never) {
            return std::nullopt;
        }
        // As fast in the slowest stage, and the shortest way through all.
        (void)solve(stages, slowest, [](double a, double b) { return a + b; });
        return stages_found(stages);
    }

private:
    struct Cell {
        double cost{never};
        std::size_t end{0}; ///< of the first stage; 0: the first function stays unused
    };

    [[nodiscard]] Cell& cell(std::size_t function, std::size_t stages, std::size_t begin) {
        return cells_[(function * (most_ + 1) + stages) * (chain_.size() + 1) + begin];
    }

    template <typename Join>
    [[nodiscard]] double solve(std::size_t stages, double limit, const Join& join) {
        most_ = stages;
        cells_.assign((order_.size() + 1) * (stages + 1) * (chain_.size() + 1), {});
        cell(order_.size(), 0, chain_.size()).cost = 0.0;
        for (std::size_t left = order_.size(); left-- > 0;) {
            cell(left, 0, chain_.size()).cost = 0.0;
            for (std::size_t count = 1; count <= std::min(stages, order_.size() - left); ++count) {
                for (std::size_t begin = 0; begin < chain_.size(); ++begin) {
                    fill(left, count, begin, limit, join);
                }
            }
        }
        return cell(0, stages, 0).cost;
    }

    template <typename Join>
    void fill(std::size_t function, std::size_t count, std::size_t begin, double limit, const Join& join) {
        auto& best = cell(function, count, begin);
        best = {cell(function + 1, count, begin).cost, 0};
        for (std::size_t end = begin + 1; end <= chain_.size(); ++end) {
            const double rest = cell(function + 1, count - 1, end).cost;
            if (rest == never) {
                continue;
            }
            const auto stage = chain_.stage(functions_[order_[function]], begin, end, count - 1);
            if (!stage) {
                break; // more blocks need more memory, and begin where these do
            }
            const double cost = join(stage->seconds, rest);
            if (stage->seconds <= limit && cost < best.cost) {
                best = {cost, end};
            }
        }
    }

    [[nodiscard]] std::vector<Stage> stages_found(std::size_t count) {
        std::vector<Stage> found;
        std::size_t begin = 0;
        for (std::size_t function = 0; count > 0; ++function) {
            const auto end = cell(function, count, begin).end;
            if (end == 0) {
                continue;
            }
            auto stage = chain_.stage(functions_[order_[function]], begin, end, --count);
            stage->function = order_[function];
            found.push_back(*stage);
            begin = end;
        }
        return found;
    }

    const Chain& chain_;
    std::span<const StageFunction> functions_;
    std::span<const std::size_t> order_;
    std::size_t most_{0};
    std::vector<Cell> cells_{};
};

double step_seconds(const std::vector<Stage>& stages, int micro_batches) {
    double through = 0.0;
    double slowest = 0.0;
    for (const Stage& stage : stages) {
        through += stage.seconds;
        slowest = std::max(slowest, stage.seconds);
    }
    return through + static_cast<double>(micro_batches - 1) * slowest;
}

std::optional<Cut> best_cut(const Chain& chain,
                            std::span<const StageFunction> functions,
                            std::span<const std::size_t> order,
                            int micro_batches,
                            std::size_t stages_min) {
    std::optional<Cut> best;
    Programme programme{chain, functions, order};
    for (std::size_t count = stages_min; count <= std::min(functions.size(), chain.size()); ++count) {
        auto stages = programme.best(count);
        if (!stages) {
            continue;
        }
        const double seconds = step_seconds(*stages, micro_batches);
        if (!best || seconds < best->step_seconds) {
            best = Cut{std::move(*stages), seconds};
        }
    }
    return best;
}

Result<void> check(std::span<const ChainBlock> blocks, std::span<const StageFunction> functions, int micro_batches) {
    const bool slow = std::ranges::any_of(functions, [](const StageFunction& each) { return each.speed <= 0.0; });
    if (blocks.empty() || functions.empty() || micro_batches < 1 || slow) {
        return Error{ErrorCode::invalid_argument,
                     "a cut needs at least one block, one function with a speed above 0 and one micro-batch"};
    }
    return {};
}

constexpr std::int64_t mega = 1'000'000;

/// Rounded up, so that what is said to do does.
std::int64_t megabytes(std::int64_t bytes) {
    return (bytes + mega - 1) / mega;
}

Error nothing_fits(const Chain& chain, std::span<const StageFunction> functions) {
    const auto firsts = static_cast<std::size_t>(std::ranges::count_if(functions, &StageFunction::may_be_first));
    if (firsts == 0) {
        return {ErrorCode::unavailable, "the first stage reads the data, and no function holds it"};
    }
    for (std::size_t index = 0; index < chain.size(); ++index) {
        const auto missing = [&](const StageFunction& function) {
            if (index == 0 && !function.may_be_first) {
                return std::numeric_limits<std::int64_t>::max();
            }
            return function.memory_bytes <= 0 ? std::numeric_limits<std::int64_t>::min()
                                              : chain.least_memory(function, index) - function.memory_bytes;
        };
        const auto& nearest = *std::ranges::min_element(functions, {}, missing);
        if (missing(nearest) > 0) {
            return {ErrorCode::unavailable,
                    fmt::format("block \"{}\" fits no function{}: alone it needs {} MB, the nearest one offers {} MB",
                                chain.block(index).name,
                                index == 0 && firsts < functions.size() ? " that holds the data" : "",
                                megabytes(chain.least_memory(nearest, index)),
                                nearest.memory_bytes / mega)};
        }
    }
    return {ErrorCode::unavailable,
            fmt::format("each block fits some function, but no cut of the {} blocks fits {} functions together{}",
                        chain.size(),
                        functions.size(),
                        firsts < functions.size()
                            ? fmt::format(", of which {} with the data for the first stage", firsts)
                            : "")};
}

} // namespace

Result<Cut>
cut_in_order(std::span<const ChainBlock> blocks, std::span<const StageFunction> functions, int micro_batches) {
    if (auto checked = check(blocks, functions, micro_batches); !checked) {
        return std::move(checked).error();
    }
    const Chain chain{blocks, micro_batches};
    std::vector<std::size_t> order(functions.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    auto best = best_cut(chain, functions, order, micro_batches, 1);
    if (!best) {
        return nothing_fits(chain, functions);
    }
    return *std::move(best);
}

Result<Cut> cut(std::span<const ChainBlock> blocks,
                std::span<const StageFunction> functions,
                int micro_batches,
                std::size_t stages_min) {
    if (auto checked = check(blocks, functions, micro_batches); !checked) {
        return std::move(checked).error();
    }
    const Chain chain{blocks, micro_batches};
    std::vector<std::size_t> order(functions.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::optional<Cut> best;
    const auto consider = [&] {
        auto found = best_cut(chain, functions, order, micro_batches, stages_min);
        const bool better = found && (!best || found->step_seconds < best->step_seconds);
        if (better) {
            best = std::move(found);
        }
        return better;
    };
    if (functions.size() <= all_orders_max) {
        do {
            consider();
        } while (std::ranges::next_permutation(order).found);
    } else {
        // The first stages hold the most micro-batches. No limit is the most memory.
        const auto memory = [&](std::size_t index) { return functions[index].memory_bytes - 1; };
        std::ranges::sort(order, std::greater<std::uint64_t>{}, [&](std::size_t index) {
            return static_cast<std::uint64_t>(memory(index));
        });
        // Exchanges begin with a way that works, if there is one: a function that may be first is.
        const auto first =
            std::ranges::find_if(order, [&](std::size_t index) { return functions[index].may_be_first; });
        if (first != order.end()) {
            std::rotate(order.begin(), first, first + 1);
        }
        consider();
        bool better = true;
        for (int round = 0; better && round < exchange_rounds_max; ++round) {
            better = false;
            for (std::size_t i = 0; i < order.size(); ++i) {
                for (std::size_t j = i + 1; j < order.size(); ++j) {
                    std::swap(order[i], order[j]);
                    if (consider()) {
                        better = true;
                    } else {
                        std::swap(order[i], order[j]);
                    }
                }
            }
        }
    }
    if (!best) {
        return nothing_fits(chain, functions);
    }
    return *std::move(best);
}

} // namespace muster::planner
