#include "planner/cost.h"

#include <algorithm>
#include <cmath>
#include <limits>

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

/// Of all trained parameters.
double gradient_bytes(const Question& question, const Subset& members) {
    std::int64_t bytes = 0;
    for (const std::size_t index : members) {
        bytes = std::max(bytes, question.candidates[index].calibration.parameter_bytes);
    }
    return static_cast<double>(bytes);
}

/// Seconds of one ring all-reduce among `members`.
double all_reduce_seconds(const Question& question, const Subset& members, double bytes) {
    const auto ranks = static_cast<double>(members.size());
    if (ranks < 2) {
        return 0.0;
    }
    double rate = std::numeric_limits<double>::infinity();
    double latency = 0.0;
    for (const std::size_t index : members) {
        const Calibration& measured = question.candidates[index].calibration;
        if (measured.bytes_per_second > 0.0) {
            rate = std::min(rate, measured.bytes_per_second);
        }
        latency = std::max(latency, measured.latency_seconds);
    }
    // A small all-reduce among n ranks takes 2 (n - 1) hops; it was measured among all candidates.
    const auto measured_ranks = static_cast<double>(std::max<std::size_t>(2, question.candidates.size()));
    const double hop = latency / (2.0 * (measured_ranks - 1.0));
    const auto times = static_cast<double>(std::max<std::int64_t>(1, question.exchanges));
    return 2.0 * (ranks - 1.0) * hop * times + 2.0 * (ranks - 1.0) / ranks * bytes / rate;
}

/// A member's own part in an all-reduce, the longer the smaller its quota is.
double processor_seconds(const Candidate& function, double bytes) {
    const double cpu = function.calibration.link_cpu_seconds_per_byte * bytes;
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

/// Names who ships the rows to members without them, and how long that takes: over the slowest link there is, and no
/// faster than the sender allows.
void ship_rows(const Question& question, const Subset& members, PlanCandidate& candidate) {
    const auto sender = sender_of(question);
    double rate = std::numeric_limits<double>::infinity();
    std::int64_t receivers = 0;
    for (std::size_t i = 0; i < members.size() && sender; ++i) {
        const Candidate& function = question.candidates[members[i]];
        if (!function.holds_data) {
            candidate.members[i].rows_from = question.candidates[*sender].dn;
            ++receivers;
        }
        if (function.calibration.bytes_per_second > 0.0) {
            rate = std::min(rate, function.calibration.bytes_per_second);
        }
    }
    if (receivers == 0) {
        return;
    }
    if (const auto allowed = question.candidates[*sender].ship_bytes_per_second_max; allowed > 0) {
        rate = std::min(rate, static_cast<double>(allowed));
    }
    candidate.shipping_seconds = static_cast<double>(receivers * question.row_bytes) / rate;
}

} // namespace

std::int64_t state_bytes(const Question& question, const Candidate& function) {
    return question.state_per_parameter * function.calibration.parameter_bytes;
}

std::int64_t memory_bytes(const Question& question, const Candidate& function, std::int64_t rows, double state_share) {
    const auto elsewhere = (1.0 - state_share) * static_cast<double>(state_bytes(question, function));
    return function.calibration.memory_at(rows) - static_cast<std::int64_t>(std::ceil(elsewhere));
}

std::int64_t batch_cap(const Question& question, const Candidate& function, double state_share) {
    const auto fits = [&](std::int64_t rows) {
        return function.memory_bytes <= 0 ||
               memory_bytes(question, function, rows, state_share) <= function.memory_bytes;
    };
    if (fits(question.batch)) {
        return question.batch;
    }
    std::int64_t low = 0;
    std::int64_t high = question.batch;
    while (low < high) {
        const std::int64_t middle = low + (high - low + 1) / 2;
        if (fits(middle)) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return low;
}

double link_seconds(const Candidate& function, std::size_t members) {
    if (members < 2 || function.cpu_cores >= 2.0) {
        return 0.0;
    }
    return processor_seconds(function, static_cast<double>(function.calibration.parameter_bytes));
}

double sum_seconds(const Question& question, const Subset& members, double bytes) {
    double seconds = all_reduce_seconds(question, members, bytes);
    for (const std::size_t index : members) {
        seconds = std::max(seconds, processor_seconds(question.candidates[index], bytes));
    }
    return seconds;
}

PlanCandidate priced(const Question& question,
                     const Subset& members,
                     const std::vector<std::int64_t>& rows,
                     std::string name,
                     const std::vector<double>& state_shares) {
    PlanCandidate candidate;
    candidate.state_sharded = !state_shares.empty();
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
        const double state_share = state_shares.empty() ? 1.0 : state_shares[i];
        const std::int64_t memory = memory_bytes(question, function, rows[i], state_share);
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
                                     .peak_memory_bytes = memory,
                                     .state_share = state_share});
        const auto ranks = static_cast<double>(members.size());
        candidate.wire_bytes_per_step = static_cast<std::int64_t>(
            2.0 * (ranks - 1.0) / ranks * static_cast<double>(function.calibration.parameter_bytes));
    }
    ship_rows(question, members, candidate);
    const double communication = all_reduce_seconds(question, members, gradient_bytes(question, members));
    // Communication hides behind the backward pass only where every member has a core to spare for it.
    const bool spare =
        std::ranges::all_of(members, [&](std::size_t index) { return question.candidates[index].cpu_cores >= 2.0; });
    // What a member's own processor does for the link is in `busiest` already; only waiting for the wire is left.
    const double beside = question.exchanges > 0 ? 0.0 : question.overlap * backward_part * compute;
    const double hidden = spare ? beside : longest_link;
    // Of sharded state only the first half, the reducing, goes on beside the backward pass.
    const double gathering = candidate.state_sharded && spare ? 0.5 * communication : 0.0;
    const double exposed = gathering + std::max(0.0, communication - gathering - hidden);
    candidate.step_seconds = busiest + exposed;
    candidate.scoring_seconds += forward;
    candidate.total_seconds = candidate.step_seconds * static_cast<double>(question.steps) + candidate.scoring_seconds +
                              candidate.shipping_seconds +
                              question.setup_seconds_per_member * static_cast<double>(members.size());
    if (question.expected_seconds > 0.0) {
        candidate.late_seconds =
            std::max(0.0, candidate.total_seconds + question.spent_seconds - question.expected_seconds);
    }
    return candidate;
}

Subset holders_of(const Question& question) {
    Subset holders;
    for (std::size_t i = 0; i < question.candidates.size(); ++i) {
        if (question.candidates[i].holds_data) {
            holders.push_back(i);
        }
    }
    return holders;
}

bool all_hold_data(const Question& question) {
    return std::ranges::all_of(question.candidates, &Candidate::holds_data);
}

std::optional<std::size_t> sender_of(const Question& question) {
    std::optional<std::size_t> sender;
    std::ptrdiff_t most = 0;
    for (const std::size_t holder : holders_of(question)) {
        const std::string& dn = question.candidates[holder].dn;
        const auto receivers = std::ranges::count_if(question.candidates, [&](const Candidate& each) {
            return !each.holds_data && std::ranges::find(each.rows_from, dn) != each.rows_from.end();
        });
        if (receivers > most) {
            sender = holder;
            most = receivers;
        }
    }
    return sender;
}

Subset readers_of(const Question& question) {
    const auto sender = sender_of(question);
    Subset readers;
    for (std::size_t i = 0; i < question.candidates.size(); ++i) {
        const Candidate& each = question.candidates[i];
        const bool receives =
            sender && std::ranges::find(each.rows_from, question.candidates[*sender].dn) != each.rows_from.end();
        if (each.holds_data || receives) {
            readers.push_back(i);
        }
    }
    return readers;
}

namespace {

/// Whether those without the data have their sender among them.
bool can_be_supplied(const Question& question, const Subset& subset, std::optional<std::size_t> sender) {
    const bool all_hold =
        std::ranges::all_of(subset, [&](std::size_t index) { return question.candidates[index].holds_data; });
    return all_hold || (sender && std::ranges::find(subset, *sender) != subset.end());
}

std::vector<Subset> all_subsets(const Subset& of) {
    std::vector<Subset> subsets;
    for (std::size_t bits = 1; bits < (std::size_t{1} << of.size()); ++bits) {
        Subset subset;
        for (std::size_t i = 0; i < of.size(); ++i) {
            if ((bits >> i & 1U) != 0) {
                subset.push_back(of[i]);
            }
        }
        subsets.push_back(std::move(subset));
    }
    return subsets;
}

/// The fastest two, three and so on.
std::vector<Subset> fastest_of(const Question& question, Subset order) {
    std::ranges::sort(order, {}, [&](std::size_t index) {
        const auto line = question.candidates[index].calibration.fit();
        return line.fixed + line.per_row * static_cast<double>(question.batch);
    });
    std::vector<Subset> subsets;
    for (std::size_t size = 2; size <= order.size(); ++size) {
        subsets.emplace_back(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(size));
    }
    return subsets;
}

} // namespace

std::vector<Subset> subsets_of(const Question& question) {
    const Subset readers = readers_of(question);
    const auto sender = sender_of(question);
    std::vector<Subset> subsets;
    if (readers.size() <= exhaustive_max) {
        subsets = all_subsets(readers);
    } else {
        subsets = fastest_of(question, holders_of(question));
        Subset others = readers;
        std::erase(others, sender.value_or(question.candidates.size()));
        for (Subset& subset : sender ? fastest_of(question, others) : std::vector<Subset>{}) {
            subset.push_back(*sender);
            subsets.push_back(std::move(subset));
        }
    }
    std::erase_if(
        subsets, [&](const Subset& subset) { return subset.size() < 2 || !can_be_supplied(question, subset, sender); });
    return subsets;
}

} // namespace muster::planner
