#include "planner/pipeline_plan.h"

#include "planner/cost.h"
#include "planner/replicas.h"
#include "planner/stages.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace muster::planner {
namespace {

/// Tensors on their way that a stage keeps beside what it works on: one that comes and one that goes, each way.
constexpr std::int64_t tensors_on_the_way = 4;
/// What a worker takes besides while it trains with others: connections, threads, what the allocator keeps. Measured:
/// 43 to 65 MB with three stages of 17 million parameters each.
constexpr std::int64_t group_bytes = 64'000'000;
constexpr double forward_part = 1.0 / 3.0;

/// Forward, backward and the block's part in the optimizer's step.
double seconds_of(const BlockCost& block, double micro_batches) {
    return block.seconds + block.update_seconds / micro_batches;
}

double seconds_of(const Calibration& calibration, double micro_batches) {
    double seconds = 0.0;
    for (const BlockCost& block : calibration.blocks) {
        seconds += seconds_of(block, micro_batches);
    }
    return seconds;
}

std::vector<ChainBlock> chain_of(const Calibration& measured) {
    std::vector<ChainBlock> chain;
    for (const BlockCost& block : measured.blocks) {
        chain.push_back({.name = block.name,
                         .seconds = block.seconds,
                         .update_seconds = block.update_seconds,
                         .state_bytes = block.state_bytes,
                         .activation_bytes = block.activation_bytes,
                         .input_bytes = block.input_bytes});
    }
    return chain;
}

/// Bytes a second of a function's link, what its own processor does for it included where no core is to spare.
double link_rate(const Candidate& candidate) {
    const Calibration& measured = candidate.calibration;
    double seconds_per_byte = measured.bytes_per_second > 0.0 ? 1.0 / measured.bytes_per_second : 0.0;
    if (candidate.cpu_cores < 2.0) {
        const double part = candidate.cpu_cores > 0.0 ? std::min(1.0, candidate.cpu_cores) : 1.0;
        seconds_per_byte = std::max(seconds_per_byte, measured.link_cpu_seconds_per_byte / part);
    }
    return seconds_per_byte > 0.0 ? 1.0 / seconds_per_byte : 0.0;
}

/// How many times as fast as `reference` it is, over the blocks that both could run.
double speed_of(const Calibration& own, const Calibration& reference, double micro_batches) {
    double theirs = 0.0;
    double ours = 0.0;
    for (std::size_t i = 0; i < own.blocks.size(); ++i) {
        if (own.blocks[i].seconds > 0.0 && reference.blocks[i].seconds > 0.0) {
            theirs += seconds_of(reference.blocks[i], micro_batches);
            ours += seconds_of(own.blocks[i], micro_batches);
        }
    }
    return ours > 0.0 ? theirs / ours : 1.0;
}

/// Whose block times count: who could run the most of them.
const Calibration& reference_of(const std::vector<Candidate>& candidates) {
    const auto measured = [](const Candidate& candidate) {
        return std::ranges::count_if(candidate.calibration.blocks,
                                     [](const BlockCost& block) { return block.seconds > 0.0; });
    };
    return std::ranges::max_element(candidates, {}, measured)->calibration;
}

StageFunction function_of(const Candidate& candidate, const Calibration& reference, double micro_batches) {
    std::int64_t working = 0;
    std::int64_t largest = 0;
    for (const BlockCost& block : candidate.calibration.blocks) {
        working = std::max(working, block.working_bytes);
        largest = std::max(largest, block.input_bytes);
    }
    return {.speed = speed_of(candidate.calibration, reference, micro_batches),
            .memory_bytes = candidate.memory_bytes,
            .base_bytes = candidate.calibration.base_bytes + group_bytes + working + tensors_on_the_way * largest,
            .bytes_per_second = link_rate(candidate),
            .may_be_first = candidate.holds_data};
}

/// What is to be split, as measured.
struct Measured {
    const Calibration& reference; ///< whose block times count
    std::int64_t micro_batches;   ///< of a batch
    std::vector<ChainBlock> chain;
    std::vector<StageFunction> functions; ///< in the order of the candidates
};

/// The model is a chain, and several functions have measured it.
Result<void> check(const Question& question) {
    if (question.candidates.size() < 2) {
        return Error{ErrorCode::invalid_argument, "a model is split over several functions, and there is only one"};
    }
    const std::size_t blocks = question.candidates.front().calibration.blocks.size();
    for (const Candidate& candidate : question.candidates) {
        const Calibration& measured = candidate.calibration;
        if (measured.blocks.empty() || measured.blocks.size() != blocks || measured.micro_rows < 1) {
            return Error{ErrorCode::invalid_argument,
                         measured.blocks.empty() ? "the model is no chain of blocks and cannot be split"
                                                 : candidate.dn + " has measured other blocks than the others"};
        }
    }
    return {};
}

/// REQUIRES: check() finds nothing.
Measured measured_of(const Question& question) {
    const Calibration& reference = reference_of(question.candidates);
    Measured measured{.reference = reference,
                      .micro_batches = (question.batch + reference.micro_rows - 1) / reference.micro_rows,
                      .chain = chain_of(reference),
                      .functions = {}};
    for (const Candidate& candidate : question.candidates) {
        measured.functions.push_back(function_of(candidate, reference, static_cast<double>(measured.micro_batches)));
    }
    return measured;
}

/// What the stage sends in a step: activations forth, gradients back.
double sent_bytes(const std::vector<ChainBlock>& chain, const Stage& stage, double micro_batches) {
    const std::int64_t forth = stage.end < chain.size() ? chain[stage.end].input_bytes : 0;
    const std::int64_t back = stage.begin > 0 ? chain[stage.begin].input_bytes : 0;
    return micro_batches * static_cast<double>(forth + back);
}

/// The blocks' part of the seconds of all.
double part_of_seconds(const Measured& measured, std::size_t begin, std::size_t end) {
    const auto pieces = static_cast<double>(measured.micro_batches);
    double part = 0.0;
    for (std::size_t i = begin; i < end; ++i) {
        part += seconds_of(measured.reference.blocks[i], pieces);
    }
    return part / seconds_of(measured.reference, pieces);
}

/// Adds the stages of one replica to `plan`, with what they compute, score and send.
void add_replica(const Question& question, const Measured& measured, const Replica& replica, PlanCandidate& plan) {
    const double rows = static_cast<double>(replica.rows) / static_cast<double>(question.batch);
    double slowest = 0.0;
    for (const Stage& stage : replica.stages) {
        slowest = std::max(slowest, stage.seconds);
        plan.members.push_back({.dn = question.candidates[stage.function].dn,
                                .batch_rows = replica.rows,
                                .share = rows * part_of_seconds(measured, stage.begin, stage.end),
                                .compute_seconds = stage.seconds * replica.micro_batches,
                                .peak_memory_bytes = stage.memory_bytes,
                                .stage = {.first_block = static_cast<std::int64_t>(stage.begin),
                                          .blocks = static_cast<std::int64_t>(stage.end - stage.begin),
                                          .recompute = stage.recompute}});
    }
    // Each replica scores its part of the rows.
    plan.scoring_seconds = std::max(plan.scoring_seconds,
                                    forward_part * slowest * rows * static_cast<double>(question.scoring.rows) /
                                        static_cast<double>(measured.reference.micro_rows));
}

/// Sums up a plan whose members and step are known.
void total(const Question& question, PlanCandidate& plan) {
    plan.total_seconds = plan.step_seconds * static_cast<double>(question.steps) + plan.scoring_seconds +
                         question.setup_seconds_per_member * static_cast<double>(plan.members.size());
    if (question.expected_seconds > 0.0) {
        plan.late_seconds = std::max(0.0, plan.total_seconds + question.spent_seconds - question.expected_seconds);
    }
}

/// Bytes of the gradients of blocks: state is in proportion to parameters, whatever the optimizer is.
double
gradient_bytes(const Question& question, const std::vector<ChainBlock>& chain, std::size_t begin, std::size_t end) {
    const auto state = [&](std::size_t from, std::size_t to) {
        return std::accumulate(chain.begin() + static_cast<std::ptrdiff_t>(from),
                               chain.begin() + static_cast<std::ptrdiff_t>(to),
                               std::int64_t{0},
                               [](std::int64_t sum, const ChainBlock& block) { return sum + block.state_bytes; });
    };
    std::int64_t parameters = 0;
    for (const Candidate& candidate : question.candidates) {
        parameters = std::max(parameters, candidate.calibration.parameter_bytes);
    }
    const auto whole = static_cast<double>(std::max<std::int64_t>(1, state(0, chain.size())));
    return static_cast<double>(parameters) * static_cast<double>(state(begin, end)) / whole;
}

PlanCandidate replicated_plan(const Question& question, const Measured& measured, const ReplicatedCut& cut) {
    const std::size_t count = cut.replicas.size();
    PlanCandidate plan{.name =
                           fmt::format("pipeline, {} stages x {} replicas", cut.replicas.front().stages.size(), count),
                       .strategy = Strategy::pipeline,
                       .micro_rows = measured.reference.micro_rows,
                       .step_seconds = cut.step_seconds};
    const double ring = 2.0 * static_cast<double>(count - 1) / static_cast<double>(count);
    double sent = 0.0;
    for (const Replica& replica : cut.replicas) {
        add_replica(question, measured, replica, plan);
        for (const Stage& stage : replica.stages) {
            sent = std::max(sent,
                            sent_bytes(measured.chain, stage, replica.micro_batches) +
                                ring * gradient_bytes(question, measured.chain, stage.begin, stage.end));
        }
    }
    plan.wire_bytes_per_step = static_cast<std::int64_t>(sent);
    total(question, plan);
    return plan;
}

} // namespace

Result<PlanCandidate> best_pipeline(const Question& question) {
    if (auto checked = check(question); !checked) {
        return std::move(checked).error();
    }
    const Measured measured = measured_of(question);
    const auto pieces = static_cast<double>(measured.micro_batches);
    auto best = cut(measured.chain, measured.functions, static_cast<int>(measured.micro_batches), 2);
    if (!best) {
        return std::move(best).error();
    }
    PlanCandidate plan{.name = "model, by speed",
                       .strategy = Strategy::pipeline,
                       .micro_rows = measured.reference.micro_rows,
                       .step_seconds = best->step_seconds};
    for (const Stage& stage : best->stages) {
        plan.wire_bytes_per_step =
            std::max(plan.wire_bytes_per_step, static_cast<std::int64_t>(sent_bytes(measured.chain, stage, pieces)));
    }
    add_replica(
        question, measured, {.stages = std::move(best->stages), .rows = question.batch, .micro_batches = pieces}, plan);
    total(question, plan);
    return plan;
}

std::optional<PlanCandidate> best_replicated_pipeline(const Question& question) {
    if (!check(question)) {
        return std::nullopt;
    }
    const Measured measured = measured_of(question);
    const ReplicaTask task{.blocks = measured.chain,
                           .functions = measured.functions,
                           .batch = question.batch,
                           .micro_rows = measured.reference.micro_rows,
                           .sum_seconds = [&](std::span<const std::size_t> functions, auto begin, auto end) {
                               return sum_seconds(question,
                                                  {functions.begin(), functions.end()},
                                                  gradient_bytes(question, measured.chain, begin, end));
                           }};
    std::optional<PlanCandidate> best;
    const std::size_t functions = question.candidates.size();
    for (std::size_t replicas = 2; replicas * 2 <= functions; ++replicas) {
        for (std::size_t stages = 2; replicas * stages <= functions; ++stages) {
            const auto found = cut_replicated(task, replicas, stages);
            if (!found) {
                continue;
            }
            PlanCandidate plan = replicated_plan(question, measured, *found);
            if (!best || plan.total_seconds < best->total_seconds) {
                best = std::move(plan);
            }
        }
    }
    return best;
}

} // namespace muster::planner
