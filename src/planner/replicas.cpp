#include "planner/replicas.h"

#include "planner/programme.h"
#include "planner/split.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace muster::planner {
namespace {

constexpr std::size_t all_orders_max = 6;
/// Arrangements that are priced from one beginning, where there are too many to try all.
constexpr int exchanges_max = 300;
/// The cut follows the replicas' parts of the rows, and they follow the cut.
constexpr int cut_rounds = 3;

double slowest_of(const std::vector<Stage>& stages) {
    return std::ranges::max_element(stages, {}, &Stage::seconds)->seconds;
}

double through(const std::vector<Stage>& stages) {
    return std::accumulate(
        stages.begin(), stages.end(), 0.0, [](double sum, const Stage& stage) { return sum + stage.seconds; });
}

double micro_batches(const ReplicaTask& task, std::int64_t rows) {
    return std::max(1.0, static_cast<double>(rows) / static_cast<double>(task.micro_rows));
}

Chain chain_of(const ReplicaTask& task, std::int64_t rows, double update_pieces) {
    return {task.blocks, static_cast<int>((rows + task.micro_rows - 1) / task.micro_rows), update_pieces};
}

/// An order of all functions: that at r * stages + s holds stage s of replica r, those behind the last replica nothing.
using Arrangement = std::vector<std::size_t>;

/// Prices arrangements for one number of replicas and stages, and keeps the best.
class Search {
public:
    Search(const ReplicaTask& task, std::size_t replicas, std::size_t stages)
        : task_{task}, replicas_{replicas}, stages_{stages},
          // As if one replica had all rows, as to memory, and each an equal part, as to time.
          chain_{chain_of(task, task.batch, micro_batches(task, task.batch / static_cast<std::int64_t>(replicas)))} {}

    /// Returns whether it is better than all before.
    bool consider(const Arrangement& arrangement) {
        std::vector<double> parts = parts_by_speed(arrangement);
        std::vector<Run> before;
        bool better = false;
        for (int round = 0; round < cut_rounds && starts_with_data(arrangement); ++round) {
            auto runs = best_runs(arrangement, parts);
            auto found = runs && *runs != before ? priced(arrangement, *runs) : std::nullopt;
            if (!found) {
                break;
            }
            before = *std::move(runs);
            for (std::size_t r = 0; r < replicas_; ++r) {
                parts[r] = static_cast<double>(found->replicas[r].rows) / static_cast<double>(task_.batch);
            }
            if (!best_ || found->step_seconds < best_->step_seconds) {
                best_ = std::move(found);
                better = true;
            }
        }
        return better;
    }

    [[nodiscard]] const std::optional<ReplicatedCut>& best() const { return best_; }

private:
    [[nodiscard]] const StageFunction&
    function_at(const Arrangement& arrangement, std::size_t replica, std::size_t stage) const {
        return task_.functions[arrangement[replica * stages_ + stage]];
    }

    [[nodiscard]] bool starts_with_data(const Arrangement& arrangement) const {
        bool all = true;
        for (std::size_t r = 0; r < replicas_; ++r) {
            all = all && function_at(arrangement, r, 0).may_be_first;
        }
        return all;
    }

    /// A replica is as fast as its functions together, if only the cut suits it.
    [[nodiscard]] std::vector<double> parts_by_speed(const Arrangement& arrangement) const {
        std::vector<double> parts(replicas_);
        double sum = 0.0;
        for (std::size_t place = 0; place < replicas_ * stages_; ++place) {
            parts[place / stages_] += task_.functions[arrangement[place]].speed;
            sum += task_.functions[arrangement[place]].speed;
        }
        for (double& part : parts) {
            part /= sum;
        }
        return parts;
    }

    /// The common cut whose slowest stage of all replicas is fastest for their parts of the rows.
    [[nodiscard]] std::optional<std::vector<Run>> best_runs(const Arrangement& arrangement,
                                                            const std::vector<double>& parts) const {
        const auto seconds = [&](std::size_t stage, std::size_t begin, std::size_t end, std::size_t after) {
            double slowest = 0.0;
            for (std::size_t r = 0; r < replicas_; ++r) {
                const auto own = chain_.stage(function_at(arrangement, r, stage), begin, end, after);
                if (!own) {
                    return never;
                }
                slowest = std::max(slowest, parts[r] * own->seconds);
            }
            return slowest;
        };
        return Programme{chain_.size(), stages_, seconds}.best(stages_);
    }

    [[nodiscard]] Replica replica_of(const Chain& chain,
                                     const Arrangement& arrangement,
                                     std::size_t replica,
                                     const std::vector<Run>& runs) const {
        Replica found;
        for (const Run& run : runs) {
            const std::size_t after = stages_ - 1 - run.place;
            found.stages.push_back(
                *chain.stage(function_at(arrangement, replica, run.place), run.begin, run.end, after));
            found.stages.back().function = arrangement[replica * stages_ + run.place];
        }
        return found;
    }

    /// Each replica's time is a line over its rows: the way through all stages, then its slowest one for each further
    /// micro-batch.
    [[nodiscard]] std::optional<std::vector<std::int64_t>> rows_of(const Arrangement& arrangement,
                                                                   const std::vector<Run>& runs) const {
        std::vector<Cost> costs;
        for (std::size_t r = 0; r < replicas_; ++r) {
            const Replica replica = replica_of(chain_, arrangement, r, runs);
            const double slowest = slowest_of(replica.stages);
            costs.push_back({.fixed = through(replica.stages) - slowest,
                             .per_row = slowest / static_cast<double>(task_.micro_rows),
                             .cap = task_.batch});
        }
        auto rows = split(costs, task_.batch);
        if (!rows || std::ranges::min(*rows) < 1) {
            return std::nullopt; // fewer replicas do better
        }
        return *std::move(rows);
    }

    [[nodiscard]] std::optional<ReplicatedCut> priced(const Arrangement& arrangement,
                                                      const std::vector<Run>& runs) const {
        const auto rows = rows_of(arrangement, runs);
        if (!rows) {
            return std::nullopt;
        }
        ReplicatedCut found;
        for (std::size_t r = 0; r < replicas_; ++r) {
            const double pieces = micro_batches(task_, (*rows)[r]);
            Replica replica = replica_of(chain_of(task_, (*rows)[r], pieces), arrangement, r, runs);
            replica.rows = (*rows)[r];
            replica.micro_batches = pieces;
            replica.seconds = through(replica.stages) + (pieces - 1.0) * slowest_of(replica.stages);
            found.step_seconds = std::max(found.step_seconds, replica.seconds);
            found.replicas.push_back(std::move(replica));
        }
        double sum = 0.0;
        for (const Run& run : runs) {
            std::vector<std::size_t> holders;
            for (std::size_t r = 0; r < replicas_; ++r) {
                holders.push_back(arrangement[r * stages_ + run.place]);
            }
            sum = std::max(sum, task_.sum_seconds(holders, run.begin, run.end));
        }
        found.step_seconds += sum;
        return found;
    }

    const ReplicaTask& task_;
    std::size_t replicas_;
    std::size_t stages_;
    Chain chain_;
    std::optional<ReplicatedCut> best_{};
};

/// Replicas are alike, and so are functions that hold nothing: one order of them is enough.
bool is_new(const Arrangement& arrangement, std::size_t replicas, std::size_t stages) {
    for (std::size_t r = 1; r < replicas; ++r) {
        if (arrangement[(r - 1) * stages] > arrangement[r * stages]) {
            return false;
        }
    }
    return std::is_sorted(arrangement.begin() + static_cast<std::ptrdiff_t>(replicas * stages), arrangement.end());
}

/// Functions in the order `ranked`, as many as there are replicas at each stage; the first stage has the first ones of
/// those that may be first.
Arrangement
in_tiers(std::span<const StageFunction> functions, Arrangement ranked, std::size_t replicas, std::size_t stages) {
    std::size_t firsts = 0;
    std::ranges::stable_partition(
        ranked, [&](std::size_t index) { return functions[index].may_be_first && firsts++ < replicas; });
    Arrangement arrangement = ranked;
    for (std::size_t place = 0; place < replicas * stages; ++place) {
        arrangement[place] = ranked[place % stages * replicas + place / stages];
    }
    return arrangement;
}

/// Exchanges two functions as long as that is better.
std::optional<ReplicatedCut>
improved(const ReplicaTask& task, Arrangement arrangement, std::size_t replicas, std::size_t stages) {
    Search search{task, replicas, stages};
    const std::size_t used = replicas * stages;
    search.consider(arrangement);
    int left = exchanges_max;
    for (bool better = true; better && left > 0;) {
        better = false;
        for (std::size_t i = 0; i < used; ++i) {
            for (std::size_t j = i + 1; j < arrangement.size() && left > 0; ++j, --left) {
                std::swap(arrangement[i], arrangement[j]);
                if (search.consider(arrangement)) {
                    better = true;
                } else {
                    std::swap(arrangement[i], arrangement[j]);
                }
            }
        }
    }
    return search.best();
}

std::optional<ReplicatedCut> best_of_all(const ReplicaTask& task, std::size_t replicas, std::size_t stages) {
    Search search{task, replicas, stages};
    Arrangement order(task.functions.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    do {
        if (is_new(order, replicas, stages)) {
            search.consider(order);
        }
    } while (std::ranges::next_permutation(order).found);
    return search.best();
}

std::optional<ReplicatedCut> best_of_tiers(const ReplicaTask& task, std::size_t replicas, std::size_t stages) {
    Arrangement order(task.functions.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::stable_sort(order, std::greater{}, [&](std::size_t index) { return task.functions[index].speed; });
    auto by_speed = improved(task, in_tiers(task.functions, order, replicas, stages), replicas, stages);
    // The first stages hold the most micro-batches. No limit is the most memory.
    std::ranges::stable_sort(order, std::greater{}, [&](std::size_t index) {
        return static_cast<std::uint64_t>(task.functions[index].memory_bytes - 1);
    });
    auto by_memory = improved(task, in_tiers(task.functions, order, replicas, stages), replicas, stages);
    return !by_speed || (by_memory && by_memory->step_seconds < by_speed->step_seconds) ? by_memory : by_speed;
}

} // namespace

std::optional<ReplicatedCut> cut_replicated(const ReplicaTask& task, std::size_t replicas, std::size_t stages) {
    const auto firsts = std::ranges::count_if(task.functions, &StageFunction::may_be_first);
    if (replicas * stages > task.functions.size() || stages > task.blocks.size() || std::cmp_less(firsts, replicas) ||
        std::cmp_less(task.batch, replicas)) {
        return std::nullopt;
    }
    return task.functions.size() <= all_orders_max ? best_of_all(task, replicas, stages)
                                                   : best_of_tiers(task, replicas, stages);
}

} // namespace muster::planner
