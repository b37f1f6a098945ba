/// What a way to train on rows costs: memory, time of a step, bytes. Source: reference algorithms 1.2.
#pragma once

#include "planner/planner.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace muster::planner {

/// Positions in Question::candidates.
using Subset = std::vector<std::size_t>;

/// Those that hold the data, and so can read rows.
[[nodiscard]] Subset holders_of(const Question& question);
[[nodiscard]] bool all_hold_data(const Question& question);
/// The one that would ship rows: the holder with the most receivers; nothing, where there are none.
[[nodiscard]] std::optional<std::size_t> sender_of(const Question& question);
/// The holders, and those that the sender would ship the rows to.
[[nodiscard]] Subset readers_of(const Question& question);

/// Subsets of at least two members worth pricing, each of which holds the data or is shipped it by a member.
[[nodiscard]] std::vector<Subset> subsets_of(const Question& question);

/// Bytes of the optimizer's whole state.
[[nodiscard]] std::int64_t state_bytes(const Question& question, const Candidate& function);
/// Bytes of a function's process with so many rows of a batch, and its share of the optimizer's state.
[[nodiscard]] std::int64_t
memory_bytes(const Question& question, const Candidate& function, std::int64_t rows, double state_share);
/// The most rows of the batch that its memory allows.
[[nodiscard]] std::int64_t batch_cap(const Question& question, const Candidate& function, double state_share);

/// Seconds that a member's own part in an all-reduce takes from its computing: all of it where no core is to spare, and
/// the longer the smaller its quota is.
[[nodiscard]] double link_seconds(const Candidate& function, std::size_t members);

/// Seconds in which members that do nothing else add up `bytes` of gradients: of the ring, or of the processor that
/// takes longest for its part.
[[nodiscard]] double sum_seconds(const Question& question, const Subset& members, double bytes);

/// A candidate with these rows of each batch at its members, priced. `state_shares`: the parts of the optimizer's state
/// that they keep; none: all of it at each.
[[nodiscard]] PlanCandidate priced(const Question& question,
                                   const Subset& members,
                                   const std::vector<std::int64_t>& rows,
                                   std::string name,
                                   const std::vector<double>& state_shares = {});

} // namespace muster::planner
