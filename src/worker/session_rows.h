/// Rows on their way to members that do not hold them, before the first step.
#pragma once

#include "collective/group.h"
#include "model/messages.h"
#include "shipping/landing.h"
#include "worker/session_job.h"

#include <functional>
#include <optional>
#include <vector>

namespace muster::worker {

/// The files of `settings.landing` as the place where the data of this description arrives; none, where this worker
/// has no such files. They become the landing's. Reads what they hold from an attempt before. Call once.
/// Errors: invalid_argument, when a file is missing; those of Landing::over.
[[nodiscard]] Result<std::optional<shipping::Landing>> open_landing(const SessionJobSettings& settings,
                                                                    const DataElsewhere& described);

/// The rows that have arrived, as if they had been here from the beginning. REQUIRES: landing.verified().
/// Errors: those of map_matrices.
[[nodiscard]] Result<SessionData> landed(const shipping::Landing& landing, const DataElsewhere& described);

/// How rows are shipped.
struct RowsOrder {
    std::int64_t bytes_per_second_max{}; ///< of a sender; 0: as fast as it goes
    /// Of a receiver, on another thread, now and then: bytes that have arrived, and bytes of all rows.
    std::function<void(std::int64_t arrived, std::int64_t expected)> on_arrival{};
};

/// Whether the roster has rows shipped to anybody.
[[nodiscard]] bool ships_rows(const Roster& roster);

/// Does this rank's part of what the roster says (RosterMember::rows_from): sends the rows of `data`, receives them
/// into `landing`, or waits until the others have. All ranks call it. Returns what this rank has sent or received.
/// Errors: those of shipping::ship(); invalid_argument, when the roster cannot be meant; unavailable, when the group
/// has failed.
[[nodiscard]] Result<std::vector<Shipment>> exchange_rows(collective::Group& group,
                                                          const Roster& roster,
                                                          const SessionData& data,
                                                          shipping::Landing* landing,
                                                          const RowsOrder& order);

} // namespace muster::worker
