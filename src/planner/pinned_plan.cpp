#include "planner/pinned_plan.h"

#include "nrm/dn.h"
#include "planner/cost.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>

namespace muster::planner {
namespace {

__extension__ using Wide = __int128; // rows times rows may pass 64 bits

constexpr std::int64_t mega = 1'000'000;

/// "gnb-1 owns 57 % of the rows, gnb-2 43 %"
std::string words_of_rows(const Question& question) {
    std::int64_t total = 0;
    for (const Candidate& site : question.candidates) {
        total += site.rows;
    }
    std::vector<std::string> parts;
    for (const Candidate& site : question.candidates) {
        parts.push_back(fmt::format("{}{} {:.0f} %{}",
                                    nrm::short_name(site.dn),
                                    parts.empty() ? " owns" : "",
                                    100.0 * static_cast<double>(site.rows) / static_cast<double>(total),
                                    parts.empty() ? " of the rows" : ""));
    }
    return fmt::format("{}", fmt::join(parts, ", "));
}

Result<void> check_rows(const Question& question, std::int64_t total) {
    const std::int64_t batches = (total - 1) / question.batch + 1;
    for (const Candidate& site : question.candidates) {
        if (site.rows < batches) {
            return Error{ErrorCode::unavailable,
                         fmt::format("{} has {} training rows, fewer than the {} batches of an epoch, in each of which "
                                     "it has some: a larger batch is needed",
                                     nrm::short_name(site.dn),
                                     site.rows,
                                     batches)};
        }
    }
    return {};
}

Result<void> check_memory(const Question& question, const PlanCandidate& candidate) {
    for (std::size_t i = 0; i < candidate.members.size(); ++i) {
        const PlanMember& member = candidate.members[i];
        const std::int64_t offered = question.candidates[i].memory_bytes;
        if (offered > 0 && member.peak_memory_bytes > offered) {
            return Error{ErrorCode::unavailable,
                         fmt::format("its rows are {:.0f} % of all, which stay there: {} MB of memory are needed for "
                                     "that part of a batch, {} offers {} MB",
                                     100.0 * member.share,
                                     member.peak_memory_bytes / mega,
                                     nrm::short_name(member.dn),
                                     offered / mega)};
        }
    }
    return {};
}

} // namespace

std::vector<std::int64_t> in_proportion(std::span<const std::int64_t> rows, std::int64_t batch) {
    const std::int64_t total = std::accumulate(rows.begin(), rows.end(), std::int64_t{0});
    std::vector<std::int64_t> parts;
    std::vector<std::size_t> order;
    for (const std::int64_t own : rows) {
        parts.push_back(static_cast<std::int64_t>(static_cast<Wide>(own) * batch / total));
        order.push_back(order.size());
    }
    std::ranges::stable_sort(order, std::ranges::greater{}, [&](std::size_t i) {
        return static_cast<std::int64_t>(static_cast<Wide>(rows[i]) * batch % total);
    });
    std::int64_t left = batch - std::accumulate(parts.begin(), parts.end(), std::int64_t{0});
    for (auto next = order.begin(); left > 0; ++next, --left) {
        ++parts[*next];
    }
    return parts;
}

Result<Plan> decide_on_pinned_rows(const Question& question) {
    std::vector<std::int64_t> rows;
    Subset members;
    for (const Candidate& site : question.candidates) {
        rows.push_back(site.rows);
        members.push_back(members.size());
    }
    const std::int64_t total = std::accumulate(rows.begin(), rows.end(), std::int64_t{0});
    if (total < 1 || question.batch < 1) {
        return Error{ErrorCode::unavailable, "no function that takes part has rows to train on"};
    }
    if (auto enough = check_rows(question, total); !enough) {
        return std::move(enough).error();
    }
    PlanCandidate only = priced(question, members, in_proportion(rows, question.batch), "data, pinned");
    only.layout = DataLayout::pinned;
    if (auto fits = check_memory(question, only); !fits) {
        return std::move(fits).error();
    }
    const auto slowest = std::ranges::max_element(only.members, {}, &PlanMember::compute_seconds);
    Plan plan{.batch = question.batch, .steps = question.steps};
    plan.why = fmt::format("rows stay at their sites: {}, and that is its part of each batch, whatever its speed; a "
                           "step waits for {}, which computes {:.1f} ms",
                           words_of_rows(question),
                           nrm::short_name(slowest->dn),
                           slowest->compute_seconds * 1e3);
    only.reason = "chosen: " + plan.why;
    plan.candidates.push_back(std::move(only));
    return plan;
}

} // namespace muster::planner
