#include "planner/planner.h"

#include "nrm/dn.h"
#include "planner/cost.h"
#include "planner/pipeline_plan.h"
#include "planner/rows_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

namespace muster::planner {
namespace {

Error nobody_holds_data(const Question& question) {
    return {ErrorCode::unavailable,
            question.candidates.empty()
                ? "no function takes part"
                : fmt::format("none of {} functions that take part holds the data", question.candidates.size())};
}

/// "; gnb-1 holds the data"; empty, when all members do.
std::string words_of_data(const Question& question, const PlanCandidate& pipeline) {
    const bool all = std::ranges::all_of(pipeline.members, [&](const PlanMember& member) {
        return std::ranges::find(question.candidates, member.dn, &Candidate::dn)->holds_data;
    });
    return all ? "" : fmt::format("; {} holds the data", nrm::short_name(pipeline.members.front().dn));
}

/// "blocks 0 to 5 at gnb-1, 6 to 11 at gnb-2"
std::string words_of_stages(const Question& question, const PlanCandidate& pipeline) {
    std::string words;
    for (const PlanMember& member : pipeline.members) {
        words += fmt::format("{}{} to {} at {}",
                             words.empty() ? "blocks " : ", ",
                             member.stage.first_block,
                             member.stage.end() - 1,
                             nrm::short_name(member.dn));
    }
    return words + words_of_data(question, pipeline);
}

/// Nothing but a split fits, or the recipe asks for it: shows beside it what one function would need.
Plan only_split(const Question& question, PlanCandidate pipeline, const std::string& why) {
    Plan plan{.batch = question.batch, .steps = question.steps};
    if (auto one = best_alone(question)) {
        one->reason = "rejected: the recipe asks for a split model";
        plan.candidates.push_back(std::move(*one));
    } else {
        plan.candidates.push_back(too_large_alone(question));
    }
    plan.why = why + "; " + words_of_stages(question, pipeline);
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
                               words_of_stages(question, pipeline));
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
    if (holders_of(question).empty()) {
        return nobody_holds_data(question);
    }
    auto pipeline = best_pipeline(question);
    if (question.strategy == DistributionKind::pipeline) {
        if (!pipeline) {
            return Error{ErrorCode::unavailable, "the recipe asks for a split model: " + pipeline.error().message};
        }
        return only_split(question, std::move(*pipeline), "the recipe asks for a split model");
    }
    auto plan = decide_on_rows(question);
    if (question.strategy != DistributionKind::automatic || question.state == StateKind::sharded) {
        return plan;
    }
    if (!plan && pipeline) {
        return only_split(question,
                          std::move(*pipeline),
                          all_hold_data(question) ? "the job fits no single function's memory"
                                                  : "the job fits no function that holds the data");
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
