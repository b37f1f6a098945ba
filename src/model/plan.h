/// A plan: which functions train, with what share, and why; and the candidates that were not chosen.
#pragma once

#include "model/layout.h"
#include "model/stage.h"

#include <cstdint>
#include <string>
#include <vector>

namespace muster {

enum class Strategy { one_function, data_parallel, pipeline };

/// One function's part in a plan.
struct PlanMember {
    std::string dn;            ///< MLTrainingFunction
    std::int64_t batch_rows{}; ///< rows of each full global batch; of a pipeline those of its replica
    double share{};            ///< batch_rows / global batch; of a pipeline times its part of the blocks' seconds
    double compute_seconds{};  ///< predicted, own part of one step
    std::int64_t peak_memory_bytes{};
    double state_share{1.0}; ///< part of the optimizer's state of what it trains; 1: all of it
    ModelStage stage{};      ///< its blocks; the whole model, except in a pipeline
    std::string rows_from{}; ///< DN of the member that ships it the rows; empty: it holds them, or reads none
};

/// A way to do it, with its predicted cost.
struct PlanCandidate {
    std::string name; ///< for people: "one function", "data, equal shares", "data, by speed", "data, sharded state",
                      ///< "data, pinned", "model, by speed", "pipeline, 2 stages x 2 replicas"
    Strategy strategy{Strategy::one_function};
    DataLayout layout{DataLayout::whole};
    std::vector<PlanMember> members{}; ///< of a pipeline in the order of its stages, replica after replica
    std::int64_t micro_rows{};         ///< of a pipeline: rows of a micro-batch
    bool state_sharded{};              ///< each member keeps its state_share of the optimizer's state (ZeRO-1)
    double step_seconds{};
    double shipping_seconds{};          ///< until members without the data have the rows
    double scoring_seconds{};           ///< validation after each epoch, the report's scores and baselines
    double total_seconds{};             ///< all steps, scoring, shipping and set-up
    std::int64_t wire_bytes_per_step{}; ///< sent by each member, payload
    bool fits{true};                    ///< memory, everywhere
    double late_seconds{};              ///< over the expected training time; 0 when in time or none was asked
    std::string reason{};               ///< why it was chosen or rejected, with numbers
};

/// The decision: every candidate is kept, the chosen one by its position.
struct Plan {
    std::vector<PlanCandidate> candidates;
    std::size_t chosen{};
    std::string why{};    ///< one or two sentences with numbers
    std::int64_t batch{}; ///< global batch
    std::int64_t steps{}; ///< all epochs
    bool provisional{};   ///< some member was never measured on this model

    [[nodiscard]] const PlanCandidate& chosen_candidate() const { return candidates.at(chosen); }
};

} // namespace muster
