/// Who takes part in one generation of a job: what workers admit, and nothing else.
#pragma once

#include "model/layout.h"
#include "model/stage.h"

#include <cstdint>
#include <string>
#include <vector>

namespace muster {

/// One member of a generation. Its rank is its position in the roster.
struct RosterMember {
    std::string dn;                     ///< MLTrainingFunction
    std::string identity;               ///< SAN URI of its job certificate (tls/identity.h)
    std::vector<std::string> addresses; ///< "host:port" of its data plane, in order of preference
    std::int64_t batch_rows{};          ///< its part of each full global batch; of a pipeline its replica's
    double state_share{1.0};            ///< part of the optimizer's state (model/state_shares.h)
    ModelStage stage{};                 ///< its blocks; the whole model, except in a pipeline
    std::string rows_from{}; ///< DN of the member that ships it the rows; empty: it holds them, or reads none

    bool operator==(const RosterMember&) const = default;
};

/// The members of one generation; generation 0 is for calibration only.
struct Roster {
    std::string job;
    std::int64_t generation{};
    std::string plan_digest; ///< SHA-256, hex, of what was agreed (wire/agreement.h)
    std::vector<RosterMember> members;
    std::int64_t micro_rows{}; ///< of a pipeline: rows of a micro-batch; 0: data parallelism
    DataLayout layout{DataLayout::whole};

    bool operator==(const Roster&) const = default;
};

} // namespace muster
