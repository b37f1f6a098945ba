#include "planner/planner.h"

#include "nrm/dn.h"
#include "planner/cost.h"
#include "planner/pinned_plan.h"
#include "planner/pipeline_plan.h"
#include "planner/rows_plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

namespace muster::planner {
namespace {

Error nobody_holds_data(const Question& question) {
    return {ErrorCode::unavailable,
            question.candidates.empty()
                ? "no function takes part"
                : fmt::format("none of {} functions that take part holds the data", question.candidates.size())};
}

/// Members where a replica begins.
bool begins_replica(const PlanMember& member) {
    return member.stage.first_block == 0;
}

/// "; gnb-1 holds the data", "; gnb-1 and gnb-2 hold the data"; empty, when all members do.
std::string words_of_data(const Question& question, const PlanCandidate& pipeline) {
    const bool all = std::ranges::all_of(pipeline.members, [&](const PlanMember& member) {
        return std::ranges::find(question.candidates, member.dn, &Candidate::dn)->holds_data;
    });
    if (all) {
        return {};
    }
    std::vector<std::string> names;
    for (const PlanMember& member : pipeline.members) {
        if (begins_replica(member)) {
            names.push_back(nrm::short_name(member.dn));
        }
    }
    return fmt::format("; {} {} the data", fmt::join(names, " and "), names.size() == 1 ? "holds" : "hold");
}

std::string words_of_blocks(const PlanMember& member) {
    return fmt::format("{} to {}", member.stage.first_block, member.stage.end() - 1);
}

/// "blocks 0 to 5 at gnb-1, 6 to 11 at gnb-2"
std::string words_of_one_replica(const PlanCandidate& pipeline) {
    std::vector<std::string> stages;
    for (const PlanMember& member : pipeline.members) {
        stages.push_back(fmt::format("{} at {}", words_of_blocks(member), nrm::short_name(member.dn)));
    }
    return fmt::format("blocks {}", fmt::join(stages, ", "));
}

/// "each of 2 replicas has blocks 0 to 5 and 6 to 11: gnb-1 and gnb-2 for 62 % of the rows, gnb-3 and gnb-4 for 38 %"
std::string words_of_replicas(const Question& question, const PlanCandidate& pipeline, std::size_t count) {
    const std::size_t stages = pipeline.members.size() / count;
    std::vector<std::string> blocks;
    std::vector<std::string> replicas;
    std::vector<std::string> names;
    for (const PlanMember& member : pipeline.members) {
        names.push_back(nrm::short_name(member.dn));
        if (blocks.size() < stages) {
            blocks.push_back(words_of_blocks(member));
        }
        if (names.size() == stages) {
            const double part = static_cast<double>(member.batch_rows) / static_cast<double>(question.batch);
            replicas.push_back(fmt::format(
                "{} for {:.0f} %{}", fmt::join(names, " and "), 100.0 * part, replicas.empty() ? " of the rows" : ""));
            names.clear();
        }
    }
    return fmt::format(
        "each of {} replicas has blocks {}: {}", count, fmt::join(blocks, " and "), fmt::join(replicas, ", "));
}

std::string words_of_stages(const Question& question, const PlanCandidate& pipeline) {
    const auto count = static_cast<std::size_t>(std::ranges::count_if(pipeline.members, begins_replica));
    return (count == 1 ? words_of_one_replica(pipeline) : words_of_replicas(question, pipeline, count)) +
           words_of_data(question, pipeline);
}

/// Distribution, and more of it, must gain so much.
double needed_gain(const Question& question) {
    return 1.0 + 2.0 * question.model_error;
}

/// The way to split the model, and the one with fewer or more replicas that it was preferred to.
struct Split {
    PlanCandidate best;
    std::optional<PlanCandidate> rejected{};
};

/// One replica, unless several are faster by more than the model's error. Errors: those of best_pipeline.
Result<Split> best_split(const Question& question) {
    auto one = best_pipeline(question);
    auto several = best_replicated_pipeline(question);
    if (!several) {
        return one ? Result<Split>{Split{.best = std::move(*one)}} : std::move(one).error();
    }
    if (!one) {
        return Split{.best = std::move(*several)};
    }
    const double gain = one->total_seconds / several->total_seconds;
    if (gain > needed_gain(question)) {
        one->reason = fmt::format("rejected: {:.2f}x slower than with replicas of the stages", gain);
        return Split{.best = std::move(*several), .rejected = std::move(*one)};
    }
    several->reason = fmt::format("rejected: {:.2f}x as fast as with one replica", gain);
    return Split{.best = std::move(*one), .rejected = std::move(*several)};
}

void add_rejected(Plan& plan, std::optional<PlanCandidate> rejected) {
    if (rejected) {
        plan.candidates.push_back(std::move(*rejected));
    }
}

/// Nothing but a split fits, or the recipe asks for it: shows beside it what one function would need.
Plan only_split(const Question& question, Split split, const std::string& why) {
    Plan plan{.batch = question.batch, .steps = question.steps};
    if (auto one = best_alone(question)) {
        one->reason = "rejected: the recipe asks for a split model";
        plan.candidates.push_back(std::move(*one));
    } else {
        plan.candidates.push_back(too_large_alone(question));
    }
    plan.why = why + "; " + words_of_stages(question, split.best);
    split.best.reason = "chosen: " + plan.why;
    plan.chosen = plan.candidates.size();
    plan.candidates.push_back(std::move(split.best));
    add_rejected(plan, std::move(split.rejected));
    return plan;
}

/// A split competes with what fits otherwise.
void compare(const Question& question, Plan& plan, Split split) {
    PlanCandidate& pipeline = split.best;
    PlanCandidate& before = plan.candidates[plan.chosen];
    const double gain = before.total_seconds / pipeline.total_seconds;
    if (gain > needed_gain(question)) {
        plan.why = fmt::format("the model is split: predicted {:.2f}x as fast as \"{}\"; {}",
                               gain,
                               before.name,
                               words_of_stages(question, pipeline));
        before.reason = fmt::format("rejected: {:.2f}x slower than a split model", gain);
        pipeline.reason = "chosen: " + plan.why;
        plan.chosen = plan.candidates.size();
    } else {
        pipeline.reason = fmt::format("rejected: {:.2f}x as fast as \"{}\"", gain, before.name);
    }
    plan.candidates.push_back(std::move(pipeline));
    add_rejected(plan, std::move(split.rejected));
}

} // namespace

Result<Plan> decide(const Question& question) {
    if (holders_of(question).empty()) {
        return nobody_holds_data(question);
    }
    if (question.layout == DataLayout::pinned) {
        return decide_on_pinned_rows(question);
    }
    if (question.strategy == DistributionKind::pipeline) {
        auto split = best_split(question);
        if (!split) {
            return Error{ErrorCode::unavailable, "the recipe asks for a split model: " + split.error().message};
        }
        return only_split(question, std::move(*split), "the recipe asks for a split model");
    }
    auto plan = decide_on_rows(question);
    if (question.strategy != DistributionKind::automatic || question.state == StateKind::sharded) {
        return plan;
    }
    auto split = best_split(question);
    if (plan && split) {
        compare(question, *plan, std::move(*split));
    } else if (split) {
        return only_split(question,
                          std::move(*split),
                          all_hold_data(question) ? "the job fits no single function's memory"
                                                  : "the job fits no function that holds the data");
    } else if (!plan && split.error().code == ErrorCode::unavailable) {
        return Error{plan.error().code, plan.error().message + "; nor does it fit in stages: " + split.error().message};
    }
    return plan;
}

} // namespace muster::planner
