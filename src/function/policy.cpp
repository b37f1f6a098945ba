#include "function/policy.h"

#include "base/pattern.h"
#include "wire/recipe.h"

#include <fmt/format.h>

#include <algorithm>

namespace muster::function {
namespace {

bool allowed(const std::vector<std::string>& patterns, const std::string& text) {
    return patterns.empty() ||
           std::ranges::any_of(patterns, [&](const std::string& pattern) { return matches(pattern, text); });
}

int hour_of(WallTime now) {
    const auto since = now.time_since_epoch();
    return static_cast<int>(std::chrono::floor<std::chrono::hours>(since).count() % 24);
}

bool open_at(const Hours& hours, int hour) {
    if (hours.from == hours.to) {
        return true;
    }
    return hours.from < hours.to ? hour >= hours.from && hour < hours.to : hour >= hours.from || hour < hours.to;
}

std::int64_t seconds_until(const Hours& hours, WallTime now) {
    const auto day = std::chrono::floor<std::chrono::hours>(now.time_since_epoch()).count() / 24 * 24;
    auto opening = WallTime{std::chrono::hours{day + hours.from}};
    if (opening <= now) {
        opening += std::chrono::hours{24};
    }
    return std::chrono::ceil<std::chrono::seconds>(opening - now).count();
}

Refuse refused(const Propose& proposal, std::string code, std::string words, std::int64_t retry_after = 0) {
    return {.job = proposal.job,
            .generation = 0,
            .code = std::move(code),
            .words = std::move(words),
            .retry_after_seconds = retry_after};
}

std::optional<Refuse> refused_by_data(const Propose& proposal, const std::vector<DataSource>& sources) {
    for (const std::string& name : proposal.sources) {
        const auto source = std::ranges::find(sources, name, &DataSource::name);
        if (source == sources.end()) {
            return refused(
                proposal, "no_data", fmt::format("the data source \"{}\" is not in this function's catalogue", name));
        }
        if (!proposal.receivers.empty() && !source->may_leave) {
            return refused(proposal, "policy_egress", fmt::format("rows of \"{}\" may not leave this function", name));
        }
        for (const std::string& receiver : proposal.row_receivers) {
            if (!may_receive_rows(*source, receiver, proposal.consumer)) {
                return refused(proposal,
                               "policy_egress",
                               fmt::format("rows of \"{}\" may not be sent to {} for \"{}\" (data[].rows_may_leave)",
                                           name,
                                           receiver,
                                           proposal.consumer));
            }
        }
    }
    return std::nullopt;
}

} // namespace

std::optional<std::string>
forbidden_peer(const Policy& policy, const std::string& own, const std::vector<std::string>& peers) {
    const auto found = std::ranges::find_if(
        peers, [&](const std::string& peer) { return peer != own && !allowed(policy.peers, peer); });
    return found == peers.end() ? std::nullopt : std::optional{*found};
}

std::variant<Limits, Refuse> judge(const Policy& policy,
                                   const Propose& proposal,
                                   const Capacity& capacity,
                                   const std::vector<DataSource>& sources,
                                   const std::optional<std::string>& busy,
                                   WallTime now) {
    if (busy) {
        return refused(proposal, "busy", fmt::format("busy with job {}", *busy), 10);
    }
    if (!open_at(policy.hours, hour_of(now))) {
        return refused(proposal,
                       "policy_hours",
                       fmt::format("works only from {:02}:00 to {:02}:00 UTC", policy.hours.from, policy.hours.to),
                       seconds_until(policy.hours, now));
    }
    if (!allowed(policy.consumers, proposal.consumer)) {
        return refused(proposal, "policy_consumer", fmt::format("does not work for \"{}\"", proposal.consumer));
    }
    if (!allowed(policy.inferences, proposal.inference)) {
        return refused(proposal, "policy_inference", fmt::format("does not train \"{}\"", proposal.inference));
    }
    if (!policy.users_models && proposal.model_kind.starts_with(wire::user_model_kind)) {
        return refused(proposal, "policy_model", users_models_refused);
    }
    if (const auto peer = forbidden_peer(policy, "", proposal.peers)) {
        return refused(proposal, "policy_peer", fmt::format("does not work together with {}", *peer));
    }
    if (auto refusal = refused_by_data(proposal, sources)) {
        return *refusal;
    }
    if (proposal.receives_rows && policy.received_bytes_max == 0) {
        return refused(proposal, "policy_rows", "takes no rows of other functions (policy.received_mb_max)");
    }
    Limits limits{.cpu_cores = capacity.cpu_cores * policy.cpu_share_max,
                  .memory_bytes =
                      static_cast<std::int64_t>(static_cast<double>(capacity.memory_bytes) * policy.memory_share_max)};
    limits.smaller_than_asked = (proposal.cpu_cores > 0.0 && limits.cpu_cores < proposal.cpu_cores) ||
                                (proposal.memory_bytes > 0 && limits.memory_bytes < proposal.memory_bytes);
    if (proposal.cpu_cores > 0.0) {
        limits.cpu_cores = std::min(limits.cpu_cores, proposal.cpu_cores);
    }
    return limits;
}

} // namespace muster::function
