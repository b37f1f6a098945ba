#include "planner/stages.h"

#include "planner/programme.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <optional>

namespace muster::planner {
namespace {

constexpr std::size_t all_orders_max = 6;
constexpr int exchange_rounds_max = 8;

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
    const auto stage = [&](std::size_t place, std::size_t begin, std::size_t end, std::size_t after) {
        return chain.stage(functions[order[place]], begin, end, after);
    };
    Programme programme{chain.size(), order.size(), [&](auto place, auto begin, auto end, auto after) {
                            const auto found = stage(place, begin, end, after);
                            return found ? found->seconds : never;
                        }};
    for (std::size_t count = stages_min; count <= std::min(functions.size(), chain.size()); ++count) {
        const auto runs = programme.best(count);
        if (!runs) {
            continue;
        }
        std::vector<Stage> stages;
        for (const Run& run : *runs) {
            stages.push_back(*stage(run.place, run.begin, run.end, count - 1 - stages.size()));
            stages.back().function = order[run.place];
        }
        const double seconds = step_seconds(stages, micro_batches);
        if (!best || seconds < best->step_seconds) {
            best = Cut{std::move(stages), seconds};
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
    const Chain chain{blocks, micro_batches, static_cast<double>(micro_batches)};
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
    const Chain chain{blocks, micro_batches, static_cast<double>(micro_batches)};
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
