#include "planner/planner.h"

#include "nrm/dn.h"
#include "planner/pipeline_plan.h"
#include "planner/split.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>

namespace muster::planner {
namespace {

/// Up to here every subset is tried; above it the fastest k for every k (exact for equal latency, no caps).
constexpr std::size_t exhaustive_max = 10;
constexpr double backward_part = 2.0 / 3.0;
/// Scoring a row is the forward part of its step; it is not measured by itself.
constexpr double forward_part = 1.0 - backward_part;
/// The linear baseline in terms of the model's own step, which is 6 operations a parameter and row in fp32: a pass over
/// a row of w numbers is 2 w^2 operations in fp64, each worth two, and some 20 touches of w numbers in memory, each
/// worth five.
constexpr double step_operations_per_parameter = 6.0;
constexpr double baseline_operations_per_square = 4.0;
constexpr double baseline_operations_per_column = 100.0;

using Subset = std::vector<std::size_t>;

std::int64_t batch_cap(const Candidate& candidate, std::int64_t batch) {
    if (candidate.memory_bytes <= 0 || candidate.calibration.memory_at(batch) <= candidate.memory_bytes) {
        return batch;
    }
    std::int64_t low = 0;
    std::int64_t high = batch;
    while (low < high) {
        const std::int64_t middle = low + (high - low + 1) / 2;
        if (candidate.calibration.memory_at(middle) <= candidate.memory_bytes) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return low;
}

/// Seconds of one ring all-reduce of the gradients among `members`.
double all_reduce_seconds(const Question& question, const Subset& members) {
    const auto ranks = static_cast<double>(members.size());
    if (ranks < 2) {
        return 0.0;
    }
    double rate = std::numeric_limits<double>::infinity();
    double latency = 0.0;
    double bytes = 0.0;
    for (const std::size_t index : members) {
        const Calibration& measured = question.candidates[index].calibration;
        if (measured.bytes_per_second > 0.0) {
            rate = std::min(rate, measured.bytes_per_second);
        }
        latency = std::max(latency, measured.latency_seconds);
        bytes = std::max(bytes, static_cast<double>(measured.parameter_bytes));
    }
    // A small all-reduce among n ranks takes 2 (n - 1) hops; it was measured among all candidates.
    const auto measured_ranks = static_cast<double>(std::max<std::size_t>(2, question.candidates.size()));
    const double hop = latency / (2.0 * (measured_ranks - 1.0));
    return 2.0 * (ranks - 1.0) * hop + 2.0 * (ranks - 1.0) / ranks * bytes / rate;
}

/// Seconds that a member's own part in an all-reduce takes from its computing: all of it where no core is to spare, and
/// the longer the smaller its quota is.
double link_seconds(const Candidate& function, std::size_t members) {
    if (members < 2 || function.cpu_cores >= 2.0) {
        return 0.0;
    }
    const double cpu =
        function.calibration.link_cpu_seconds_per_byte * static_cast<double>(function.calibration.parameter_bytes);
    return function.cpu_cores > 0.0 && function.cpu_cores < 1.0 ? cpu / function.cpu_cores : cpu;
}

/// Seconds of the linear baseline at the first member, which fits it alone while the others have finished.
double baseline_seconds(const ScoringWork& work, double seconds_per_row) {
    if (work.parameters <= 0) {
        return 0.0;
    }
    const auto width = static_cast<double>(work.columns + 1);
    const double pass = baseline_operations_per_square * width * width + baseline_operations_per_column * width;
    const double step = step_operations_per_parameter * static_cast<double>(work.parameters);
    return static_cast<double>(work.baseline_passes) * seconds_per_row * pass / step;
}

PlanCandidate
priced(const Question& question, const Subset& members, const std::vector<std::int64_t>& rows, std::string name) {
    PlanCandidate candidate;
    candidate.name = std::move(name);
    candidate.strategy = members.size() == 1 ? Strategy::one_function : Strategy::data_parallel;
    double compute = 0.0;
    double busiest = 0.0;
    double longest_link = 0.0;
    double forward = 0.0; // of the rows that are scored, at the member that takes longest for its part
    for (std::size_t i = 0; i < members.size(); ++i) {
        const Candidate& function = question.candidates[members[i]];
        const auto line = function.calibration.fit();
        const double seconds = line.fixed + line.per_row * static_cast<double>(rows[i]);
        const std::int64_t memory = function.calibration.memory_at(rows[i]);
        const double link = link_seconds(function, members.size());
        compute = std::max(compute, seconds);
        busiest = std::max(busiest, seconds + link);
        longest_link = std::max(longest_link, link);
        const double share = static_cast<double>(rows[i]) / static_cast<double>(question.batch);
        forward = std::max(forward, forward_part * line.per_row * share * static_cast<double>(question.scoring.rows));
        candidate.scoring_seconds += i == 0 ? baseline_seconds(question.scoring, line.per_row) : 0.0;
        candidate.fits = candidate.fits && (function.memory_bytes <= 0 || memory <= function.memory_bytes);
        candidate.members.push_back({.dn = function.dn,
                                     .batch_rows = rows[i],
                                     .share = share,
                                     .compute_seconds = seconds,
                                     .peak_memory_bytes = memory});
        const auto ranks = static_cast<double>(members.size());
        candidate.wire_bytes_per_step = static_cast<std::int64_t>(
            2.0 * (ranks - 1.0) / ranks * static_cast<double>(function.calibration.parameter_bytes));
    }
    const double communication = all_reduce_seconds(question, members);
    // Communication hides behind the backward pass only where every member has a core to spare for it.
    const bool spare =
        std::ranges::all_of(members, [&](std::size_t index) { return question.candidates[index].cpu_cores >= 2.0; });
    // What a member's own processor does for the link is in `busiest` already; only waiting for the wire is left.
    const double hidden = spare ? question.overlap * backward_part * compute : longest_link;
    const double exposed = std::max(0.0, communication - hidden);
    candidate.step_seconds = busiest + exposed;
    candidate.scoring_seconds += forward;
    candidate.total_seconds = candidate.step_seconds * static_cast<double>(question.steps) + candidate.scoring_seconds +
                              question.setup_seconds_per_member * static_cast<double>(members.size());
    if (question.expected_seconds > 0.0) {
        candidate.late_seconds =
            std::max(0.0, candidate.total_seconds + question.spent_seconds - question.expected_seconds);
    }
    return candidate;
}

std::optional<PlanCandidate> by_speed(const Question& question, const Subset& members) {
    std::vector<Cost> costs;
    for (const std::size_t index : members) {
        const auto line = question.candidates[index].calibration.fit();
        const Candidate& function = question.candidates[index];
        costs.push_back(
            {line.fixed + link_seconds(function, members.size()), line.per_row, batch_cap(function, question.batch)});
    }
    auto rows = split(costs, question.batch);
    if (!rows) {
        return std::nullopt;
    }
    return priced(question, members, *rows, members.size() == 1 ? "one function" : "data, by speed");
}

PlanCandidate equal_shares(const Question& question, const Subset& members) {
    std::vector<std::int64_t> rows;
    const auto count = static_cast<std::int64_t>(members.size());
    for (std::int64_t i = 0; i < count; ++i) {
        rows.push_back(question.batch * (i + 1) / count - question.batch * i / count);
    }
    return priced(question, members, rows, "data, equal shares");
}

/// Subsets of at least two members worth pricing.
std::vector<Subset> subsets_of(const Question& question) {
    const std::size_t count = question.candidates.size();
    std::vector<Subset> subsets;
    if (count <= exhaustive_max) {
        for (std::size_t bits = 1; bits < (std::size_t{1} << count); ++bits) {
            Subset subset;
            for (std::size_t i = 0; i < count; ++i) {
                if ((bits >> i & 1U) != 0) {
                    subset.push_back(i);
                }
            }
            if (subset.size() > 1) {
                subsets.push_back(std::move(subset));
            }
        }
        return subsets;
    }
    Subset order(count);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::sort(order, {}, [&](std::size_t index) {
        const auto line = question.candidates[index].calibration.fit();
        return line.fixed + line.per_row * static_cast<double>(question.batch);
    });
    for (std::size_t size = 2; size <= count; ++size) {
        subsets.emplace_back(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(size));
    }
    return subsets;
}

Error nothing_fits(const Question& question) {
    const Candidate* best = nullptr;
    for (const Candidate& candidate : question.candidates) {
        if (best == nullptr || candidate.memory_bytes > best->memory_bytes) {
            best = &candidate;
        }
    }
    if (best == nullptr) {
        return {ErrorCode::unavailable, "no function takes part"};
    }
    return {ErrorCode::unavailable,
            fmt::format("the model does not fit: one row needs {} MB, the best available function {} offers {} MB",
                        best->calibration.memory_at(1) / 1'000'000,
                        best->dn,
                        best->memory_bytes / 1'000'000)};
}

/// "equal shares wait 39 ms a step for gnb-1 (measured 0.47x of the mean)"
std::string cost_of_equality(const PlanCandidate& equal) {
    const auto slowest = std::ranges::max_element(equal.members, {}, &PlanMember::compute_seconds);
    double mean = 0.0;
    double mean_speed = 0.0;
    for (const PlanMember& member : equal.members) {
        mean += member.compute_seconds / static_cast<double>(equal.members.size());
        mean_speed += 1.0 / member.compute_seconds / static_cast<double>(equal.members.size());
    }
    return fmt::format("equal shares would wait {:.0f} ms a step for {} (measured {:.2f}x of the mean speed)",
                       (slowest->compute_seconds - mean) * 1e3,
                       nrm::short_name(slowest->dn),
                       1.0 / slowest->compute_seconds / mean_speed);
}

std::optional<PlanCandidate> best_alone(const Question& question) {
    std::optional<PlanCandidate> best;
    for (std::size_t i = 0; i < question.candidates.size(); ++i) {
        auto one = by_speed(question, {i});
        if (one && (!best || one->step_seconds < best->step_seconds)) {
            best = std::move(one);
        }
    }
    return best;
}

std::optional<PlanCandidate> best_together(const Question& question) {
    std::optional<PlanCandidate> best;
    for (const Subset& subset : subsets_of(question)) {
        auto many = by_speed(question, subset);
        // A member without rows only costs communication; the subset without it is priced as well.
        const bool idle =
            many && std::ranges::any_of(many->members, [](const PlanMember& member) { return member.batch_rows == 0; });
        if (many && !idle && (!best || many->total_seconds < best->total_seconds)) {
            best = std::move(many);
        }
    }
    return best;
}

/// Equal shares for all, only to show what they would cost.
PlanCandidate equal_for_all(const Question& question) {
    Subset all(question.candidates.size());
    std::iota(all.begin(), all.end(), std::size_t{0});
    PlanCandidate equal = equal_shares(question, all);
    equal.reason = "rejected: " + cost_of_equality(equal);
    return equal;
}

/// The first candidate of `plan` is one function, the last are several: is distribution worth it?
void weigh(const Question& question, Plan& plan) {
    PlanCandidate& one = plan.candidates.front();
    PlanCandidate& many = plan.candidates.back();
    const double gain = one.total_seconds / many.total_seconds;
    const double needed = 1.0 + 2.0 * question.model_error;
    const bool one_late = one.late_seconds > 0.0 && many.total_seconds < one.total_seconds;
    if (!one_late && gain <= needed) {
        plan.chosen = 0;
        plan.why = fmt::format("distribution is not needed: {} functions are predicted only {:.2f}x as fast, less than "
                               "{:.2f}x which would outweigh the prediction's error",
                               many.members.size(),
                               gain,
                               needed);
        one.reason = "chosen: " + plan.why;
        many.reason = fmt::format("rejected: a gain of {:.2f}x is too small", gain);
        return;
    }
    plan.chosen = plan.candidates.size() - 1;
    plan.why = fmt::format("{} functions are predicted {:.2f}x as fast as {} alone",
                           many.members.size(),
                           gain,
                           nrm::short_name(one.members[0].dn));
    if (one_late) {
        plan.why += fmt::format(", which would be {:.0f} s late", one.late_seconds);
    }
    plan.why += "; " + cost_of_equality(plan.candidates[1]);
    many.reason = "chosen: " + plan.why;
    one.reason = fmt::format("rejected: {:.2f}x slower", gain);
}

/// One function or data parallelism. Errors: unavailable, when neither fits.
Result<Plan> decide_on_rows(const Question& question) {
    auto one = question.strategy == DistributionKind::data_parallel ? std::nullopt : best_alone(question);
    auto many = question.strategy == DistributionKind::one_function ? std::nullopt : best_together(question);
    if (!one && !many) {
        return nothing_fits(question);
    }
    const bool fits_one = one.has_value();
    Plan plan{.batch = question.batch, .steps = question.steps};
    if (one) {
        plan.candidates.push_back(std::move(*one));
    }
    if (question.candidates.size() > 1) {
        plan.candidates.push_back(equal_for_all(question));
    }
    if (!many) {
        plan.chosen = 0;
        plan.why = question.strategy == DistributionKind::one_function ? "the recipe asks for one function"
                   : question.candidates.size() == 1                   ? "one function is available and the job fits it"
                                                                       : "no several functions fit the job";
        plan.candidates.front().reason = "chosen: " + plan.why;
        return plan;
    }
    plan.candidates.push_back(std::move(*many));
    if (!fits_one) {
        plan.chosen = plan.candidates.size() - 1;
        plan.why = question.strategy == DistributionKind::data_parallel ? "the recipe asks for data parallelism"
                                                                        : "the job fits no single function's memory";
        plan.candidates.back().reason = "chosen: " + plan.why;
        return plan;
    }
    weigh(question, plan);
    return plan;
}

/// "block 0 to 5 at gnb-1, 6 to 11 at gnb-2"
std::string words_of_stages(const PlanCandidate& pipeline) {
    std::string words;
    for (const PlanMember& member : pipeline.members) {
        words += fmt::format("{}{} to {} at {}",
                             words.empty() ? "blocks " : ", ",
                             member.stage.first_block,
                             member.stage.end() - 1,
                             nrm::short_name(member.dn));
    }
    return words;
}

/// Nothing but a split fits, or the recipe asks for it: shows beside it what one function would need.
Plan only_split(const Question& question, PlanCandidate pipeline, const std::string& why) {
    Plan plan{.batch = question.batch, .steps = question.steps};
    if (auto one = best_alone(question)) {
        one->reason = "rejected: the recipe asks for a split model";
        plan.candidates.push_back(std::move(*one));
    } else {
        const auto most = std::ranges::max_element(question.candidates, {}, &Candidate::memory_bytes);
        const auto index = static_cast<std::size_t>(most - question.candidates.begin());
        PlanCandidate large = priced(question, {index}, {question.batch}, "one function");
        large.reason = fmt::format("rejected: {} MB of memory are needed, {} offers {} MB",
                                   large.members.front().peak_memory_bytes / 1'000'000,
                                   nrm::short_name(most->dn),
                                   most->memory_bytes / 1'000'000);
        plan.candidates.push_back(std::move(large));
    }
    plan.why = why + "; " + words_of_stages(pipeline);
    pipeline.reason = "chosen: " + plan.why;
    plan.candidates.push_back(std::move(pipeline));
    plan.chosen = plan.candidates.size() - 1;
    return plan;
}

/// A split competes with what fits otherwise.
void compare(const Question& question, Plan& plan, PlanCandidate pipeline) {
    PlanCandidate& before = plan.candidates[plan.chosen];
    const double gain = before.total_seconds / pipeline.total_seconds;
    if (gain > 1.0 + 2.0 * question.model_error) {
        plan.why = fmt::format("the model is split: predicted {:.2f}x as fast as \"{}\"; {}",
                               gain,
                               before.name,
                               words_of_stages(pipeline));
        before.reason = fmt::format("rejected: {:.2f}x slower than a split model", gain);
        pipeline.reason = "chosen: " + plan.why;
        plan.chosen = plan.candidates.size();
    } else {
        pipeline.reason = fmt::format("rejected: {:.2f}x as fast as \"{}\"", gain, before.name);
    }
    plan.candidates.push_back(std::move(pipeline));
}

} // namespace

Result<Plan> decide(const Question& question) {
    auto pipeline = best_pipeline(question);
    if (question.strategy == DistributionKind::pipeline) {
        if (!pipeline) {
            return Error{ErrorCode::unavailable, "the recipe asks for a split model: " + pipeline.error().message};
        }
        return only_split(question, std::move(*pipeline), "the recipe asks for a split model");
    }
    auto plan = decide_on_rows(question);
    if (question.strategy != DistributionKind::automatic) {
        return plan;
    }
    if (!plan && pipeline) {
        return only_split(question, std::move(*pipeline), "the job fits no single function's memory");
    }
    if (!plan && pipeline.error().code == ErrorCode::unavailable) {
        return Error{plan.error().code,
                     plan.error().message + "; nor does it fit in stages: " + pipeline.error().message};
    }
    if (plan && pipeline) {
        compare(question, *plan, std::move(*pipeline));
    }
    return plan;
}

} // namespace muster::planner
