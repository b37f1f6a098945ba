/// The site's own policy: whom it works for, when, on what, and how much it gives.
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "model/capacity.h"
#include "model/messages.h"

#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace muster::function {

/// Hours of the day (UTC) in which work is accepted; from > to wraps over midnight; from == to is the whole day.
struct Hours {
    int from{0};
    int to{0};
};

/// Local policy. Empty lists allow everybody; a list allows what its patterns match (`*` matches any text).
struct Policy {
    Hours hours{};
    double cpu_share_max{1.0};             ///< of the function's cores
    double memory_share_max{1.0};          ///< of the function's memory
    std::vector<std::string> consumers{};  ///< patterns of trainingRequestSource
    std::vector<std::string> inferences{}; ///< patterns of aIMLInferenceName
    std::vector<std::string> peers{};      ///< patterns of peer DNs
    std::int64_t lease_seconds_max{300};
    std::int64_t group_rows_min{10}; ///< rows behind each number that leaves this function about rows that stay here
    std::int64_t ship_bytes_per_second_max{0}; ///< rows are sent to other functions no faster; 0: as fast as it goes
    std::int64_t received_bytes_max{10'000'000'000}; ///< rows of others that are taken for a job; 0: none
    bool users_models{false};                        ///< whether programs of users are run, which are models too
};

/// What those are told whose recipes bring a program of their own.
inline constexpr const char* users_models_refused = "does not run models that users bring (policy.users_models)";

/// What a proposal gets.
struct Limits {
    double cpu_cores{};
    std::int64_t memory_bytes{};
    bool smaller_than_asked{};
};

/// Judges a proposal: limits, or a refusal with its code, words and retry-after. Pure.
/// `own` is this function's DN; `busy` names the job that has it, if any.
[[nodiscard]] std::variant<Limits, Refuse> judge(const Policy& policy,
                                                 const Propose& proposal,
                                                 const Capacity& capacity,
                                                 const std::vector<DataSource>& sources,
                                                 const std::optional<std::string>& busy,
                                                 WallTime now);

/// Checks the peers of a roster against the policy; gives the first one that is not allowed.
[[nodiscard]] std::optional<std::string>
forbidden_peer(const Policy& policy, const std::string& own, const std::vector<std::string>& peers);

} // namespace muster::function
