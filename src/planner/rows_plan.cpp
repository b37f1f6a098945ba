#include "planner/rows_plan.h"

#include "nrm/dn.h"
#include "planner/cost.h"
#include "planner/sharded_plan.h"
#include "planner/split.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace muster::planner {
namespace {

constexpr std::int64_t mega = 1'000'000;

std::optional<PlanCandidate> by_speed(const Question& question, const Subset& members) {
    std::vector<Cost> costs;
    for (const std::size_t index : members) {
        const auto line = question.candidates[index].calibration.fit();
        const Candidate& function = question.candidates[index];
        costs.push_back(
            {line.fixed + link_seconds(function, members.size()), line.per_row, batch_cap(question, function, 1.0)});
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

/// REQUIRES: one function holds the data.
std::size_t largest_holder(const Question& question) {
    return std::ranges::max(
        holders_of(question), {}, [&](std::size_t index) { return question.candidates[index].memory_bytes; });
}

Error nothing_fits(const Question& question) {
    const Candidate& best = question.candidates[largest_holder(question)];
    return {ErrorCode::unavailable,
            fmt::format("the model does not fit: one row needs {} MB, the best available function {}{} offers {} MB",
                        best.calibration.memory_at(1) / mega,
                        all_hold_data(question) ? "" : "of those that hold the data, ",
                        all_hold_data(question) ? best.dn : best.dn + ",",
                        best.memory_bytes / mega)};
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
    // What the recipe asks for is done although it does not pay: with rows for everybody.
    if (!best && question.strategy == DistributionKind::data_parallel && readers_of(question).size() > 1) {
        PlanCandidate equal = equal_shares(question, readers_of(question));
        const bool rows = question.batch >= std::ssize(equal.members);
        return equal.fits && rows ? std::optional{std::move(equal)} : std::nullopt;
    }
    return best;
}

/// "890 MB of memory are needed, gnb-1 offers 600 MB"; empty, when it fits.
std::string missing_memory(const Question& question, const PlanCandidate& candidate) {
    for (const PlanMember& member : candidate.members) {
        const auto function = std::ranges::find(question.candidates, member.dn, &Candidate::dn);
        if (function->memory_bytes > 0 && member.peak_memory_bytes > function->memory_bytes) {
            return fmt::format("{} MB of memory are needed, {} offers {} MB",
                               member.peak_memory_bytes / mega,
                               nrm::short_name(member.dn),
                               function->memory_bytes / mega);
        }
    }
    return {};
}

/// Equal shares for all that read rows, only to show what they would cost.
PlanCandidate equal_for_all(const Question& question) {
    PlanCandidate equal = equal_shares(question, readers_of(question));
    equal.reason = "rejected: " + (equal.fits ? cost_of_equality(equal) : missing_memory(question, equal));
    return equal;
}

/// "; gnb-1 ships 12.4 MB of rows to gnb-2 and gnb-3, predicted to take 1.2 s"; empty, when all members hold the data.
std::string words_of_shipping(const Question& question, const PlanCandidate& candidate) {
    std::vector<std::string> receivers;
    std::string sender;
    for (const PlanMember& member : candidate.members) {
        if (!member.rows_from.empty()) {
            receivers.push_back(nrm::short_name(member.dn));
            sender = member.rows_from;
        }
    }
    return receivers.empty() ? std::string{}
                             : fmt::format("; {} ships {:.1f} MB of rows to {}, predicted to take {:.1f} s",
                                           nrm::short_name(sender),
                                           static_cast<double>(question.row_bytes) / mega,
                                           fmt::join(receivers, " and "),
                                           candidate.shipping_seconds);
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
    plan.why += "; " + cost_of_equality(plan.candidates[1]) + words_of_shipping(question, many);
    many.reason = "chosen: " + plan.why;
    one.reason = fmt::format("rejected: {:.2f}x slower", gain);
}

/// "of 800 MB gnb-1 keeps 62 %, gnb-2 38 %"
std::string words_of_shares(const Question& question, const PlanCandidate& sharded) {
    std::string words;
    for (const PlanMember& member : sharded.members) {
        words += fmt::format(
            "{}{} keeps {:.0f} %", words.empty() ? "" : ", ", nrm::short_name(member.dn), 100.0 * member.state_share);
    }
    return fmt::format("of {} MB {}", state_bytes(question, question.candidates.front()) / mega, words);
}

/// Nothing fits but several functions with a part of the optimizer's state each, or the recipe asks for that: shows
/// beside it what they would need with all of it. `one`: the best function alone, where one fits.
Result<Plan> only_sharded(const Question& question, std::optional<PlanCandidate> one) {
    auto sharded = best_sharded(question);
    const bool asked = question.state == StateKind::sharded;
    if (!sharded) {
        const std::string before = asked ? "the recipe asks for sharded optimizer state: "
                                         : nothing_fits(question).message + "; nor with sharded optimizer state: ";
        return Error{sharded.error().code, before + sharded.error().message};
    }
    Plan plan{.batch = question.batch, .steps = question.steps};
    if (one) {
        one->reason = "rejected: the recipe asks for sharded optimizer state";
        plan.candidates.push_back(std::move(*one));
    } else {
        plan.candidates.push_back(too_large_alone(question));
    }
    plan.candidates.push_back(equal_for_all(question));
    const std::string why = asked ? "the recipe asks for sharded optimizer state"
                                  : "the job fits no function with the whole optimizer state";
    plan.why = fmt::format("{}: {}", why, words_of_shares(question, *sharded));
    sharded->reason = "chosen: " + plan.why;
    plan.candidates.push_back(std::move(*sharded));
    plan.chosen = plan.candidates.size() - 1;
    return plan;
}

/// Rows are shared by those that read them.
Error too_few_hold_data(const Question& question) {
    return {
        ErrorCode::unavailable,
        fmt::format("the recipe asks for data parallelism: it needs two functions that hold the data, and of {} that "
                    "take part one does",
                    question.candidates.size())};
}

} // namespace

std::optional<PlanCandidate> best_alone(const Question& question) {
    std::optional<PlanCandidate> best;
    for (const std::size_t index : holders_of(question)) {
        auto one = by_speed(question, {index});
        if (one && (!best || one->step_seconds < best->step_seconds)) {
            best = std::move(one);
        }
    }
    return best;
}

PlanCandidate too_large_alone(const Question& question) {
    PlanCandidate large = priced(question, {largest_holder(question)}, {question.batch}, "one function");
    large.reason =
        "rejected: " + (large.fits ? "the recipe asks for several functions" : missing_memory(question, large));
    return large;
}

Result<Plan> decide_on_rows(const Question& question) {
    auto one = question.strategy == DistributionKind::data_parallel ? std::nullopt : best_alone(question);
    auto many = question.strategy == DistributionKind::one_function ? std::nullopt : best_together(question);
    const std::size_t holders = holders_of(question).size();
    const std::size_t readers = readers_of(question).size();
    if (question.strategy == DistributionKind::data_parallel && readers < 2) {
        return too_few_hold_data(question);
    }
    const bool several = holders > 1 && question.strategy != DistributionKind::one_function;
    if (question.state == StateKind::sharded && several) {
        return only_sharded(question, std::move(one));
    }
    if (!one && !many) {
        const bool state_counts = several && question.state_per_parameter > 0;
        if (question.state == StateKind::automatic && state_counts) {
            return only_sharded(question, {});
        }
        Error error = nothing_fits(question);
        if (state_counts && best_sharded(question)) {
            error.message += "; it would with sharded optimizer state, which the recipe rules out";
        }
        return error;
    }
    const bool fits_one = one.has_value();
    Plan plan{.batch = question.batch, .steps = question.steps};
    if (one) {
        plan.candidates.push_back(std::move(*one));
    }
    if (readers > 1) {
        plan.candidates.push_back(equal_for_all(question));
    }
    if (!many) {
        plan.chosen = 0;
        plan.why = question.strategy == DistributionKind::one_function ? "the recipe asks for one function"
                   : question.candidates.size() == 1                   ? "one function is available and the job fits it"
                   : readers == 1 ? "one function holds the data and the job fits it"
                                  : "no several functions fit the job";
        plan.candidates.front().reason = "chosen: " + plan.why;
        return plan;
    }
    plan.candidates.push_back(std::move(*many));
    if (!fits_one) {
        plan.chosen = plan.candidates.size() - 1;
        plan.why = question.strategy == DistributionKind::data_parallel ? "the recipe asks for data parallelism"
                                                                        : "the job fits no single function's memory";
        plan.why += words_of_shipping(question, plan.candidates.back());
        plan.candidates.back().reason = "chosen: " + plan.why;
        return plan;
    }
    weigh(question, plan);
    return plan;
}

} // namespace muster::planner
