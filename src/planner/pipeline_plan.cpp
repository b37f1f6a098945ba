#include "planner/pipeline_plan.h"

#include "planner/stages.h"

#include <algorithm>
#include <cmath>

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

/// What the stage sends in a step: activations forth, gradients back.
std::int64_t sent_bytes(const std::vector<ChainBlock>& chain, const Stage& stage, std::int64_t micro_batches) {
    const std::int64_t forth = stage.end < chain.size() ? chain[stage.end].input_bytes : 0;
    const std::int64_t back = stage.begin > 0 ? chain[stage.begin].input_bytes : 0;
    return micro_batches * (forth + back);
}

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

} // namespace

Result<PlanCandidate> best_pipeline(const Question& question) {
    if (auto checked = check(question); !checked) {
        return std::move(checked).error();
    }
    const Calibration& reference = reference_of(question.candidates);
    const std::int64_t micro_batches = (question.batch + reference.micro_rows - 1) / reference.micro_rows;
    const auto pieces = static_cast<double>(micro_batches);
    const auto chain = chain_of(reference);
    const double total = seconds_of(reference, pieces);
    std::vector<StageFunction> functions;
    for (const Candidate& candidate : question.candidates) {
        functions.push_back(function_of(candidate, reference, pieces));
    }
    auto best = cut(chain, functions, static_cast<int>(micro_batches), 2);
    if (!best) {
        return std::move(best).error();
    }
    PlanCandidate plan{.name = "model, by speed", .strategy = Strategy::pipeline, .micro_rows = reference.micro_rows};
    double slowest = 0.0;
    for (const Stage& stage : best->stages) {
        double part = 0.0;
        for (std::size_t i = stage.begin; i < stage.end; ++i) {
            part += seconds_of(reference.blocks[i], pieces);
        }
        slowest = std::max(slowest, stage.seconds);
        plan.members.push_back({.dn = question.candidates[stage.function].dn,
                                .batch_rows = question.batch,
                                .share = part / total,
                                .compute_seconds = stage.seconds * pieces,
                                .peak_memory_bytes = stage.memory_bytes,
                                .stage = {.first_block = static_cast<std::int64_t>(stage.begin),
                                          .blocks = static_cast<std::int64_t>(stage.end - stage.begin),
                                          .recompute = stage.recompute}});
        plan.wire_bytes_per_step = std::max(plan.wire_bytes_per_step, sent_bytes(chain, stage, micro_batches));
    }
    plan.step_seconds = best->step_seconds;
    plan.scoring_seconds =
        forward_part * slowest * static_cast<double>(question.scoring.rows) / static_cast<double>(reference.micro_rows);
    plan.total_seconds = plan.step_seconds * static_cast<double>(question.steps) + plan.scoring_seconds +
                         question.setup_seconds_per_member * static_cast<double>(plan.members.size());
    if (question.expected_seconds > 0.0) {
        plan.late_seconds = std::max(0.0, plan.total_seconds + question.spent_seconds - question.expected_seconds);
    }
    return plan;
}

} // namespace muster::planner
