/// The decision: one function or several, which, with what shares of the rows or with what blocks of the model. A pure
/// function of measured numbers. Source: reference algorithms 1.2 (cost model), 1.4 (subset selection), 1.8 (is
/// distribution needed).
#pragma once

#include "base/result.h"
#include "model/calibration.h"
#include "model/layout.h"
#include "model/plan.h"
#include "model/recipe.h"
#include "model/scoring.h"

#include <cstdint>
#include <string>
#include <vector>

namespace muster::planner {

/// A function that has accepted, with what was measured on it.
struct Candidate {
    std::string dn;
    Calibration calibration;     ///< fit(), memory_at(), links
    std::int64_t memory_bytes{}; ///< offered; 0: no limit known
    double cpu_cores{};          ///< offered; below 2 nothing is left over to communicate while computing
    bool holds_data{true};       ///< has the training rows itself; one that has not can hold a stage of a split model
                                 ///< which is not the first, or train beside one of `rows_from` that ships it the rows
    std::int64_t rows{};         ///< layout "pinned": its own training rows
    std::vector<std::string> rows_from{};     ///< DNs of those that would ship it the rows
    std::int64_t ship_bytes_per_second_max{}; ///< rows leave it no faster; 0: as fast as it goes
};

/// What is to be decided.
struct Question {
    std::vector<Candidate> candidates;
    DataLayout layout{DataLayout::whole};
    std::int64_t batch{};                                   ///< global batch, rows
    std::int64_t steps{};                                   ///< all epochs
    ScoringWork scoring{};                                  ///< beside the steps
    double expected_seconds{};                              ///< from process start; 0: none was asked
    double spent_seconds{};                                 ///< since process start
    DistributionKind strategy{DistributionKind::automatic}; ///< what the recipe asks for
    StateKind state{StateKind::automatic};                  ///< where it wants the optimizer's state
    std::int64_t state_per_parameter{};                     ///< numbers of that state for each parameter
    std::int64_t exchanges{}; ///< of boosted trees: small exchanges of a step that all wait for, one after the other;
                              ///< 0: a step has one all-reduce, which goes on beside the backward pass
    std::int64_t row_bytes{}; ///< of all rows, which a function that gets them is shipped
    double model_error{0.1};  ///< of the cost model; distribution must gain more than twice this
    double overlap{0.9};      ///< part of the backward pass that communication may hide behind
    double setup_seconds_per_member{0.05}; ///< connecting a group
};

/// Returns the plan with every candidate way, the chosen one, and why.
/// A model that is a chain of blocks may be split (pipeline): when it fits no other way, when that is faster by more
/// than the model's error, or when the recipe asks for it. Its stages may have replicas, which share the rows, when
/// that is faster again by more than the error. The optimizer's state is cut over the members (ZeRO-1) when it fits no
/// other way, or when the recipe asks for it. Rows are read by functions that hold the data, and by those that one of
/// them ships the rows to, which takes its time; the others take part in a split model only, behind its first stage.
/// Rows that are pinned have one plan: all who own some, each with the part of a batch that is its part of the rows,
/// whatever its speed. Errors: unavailable, when no way fits into memory or none is as the recipe asks, or too few
/// functions hold the data; names the best available function and the missing amount.
[[nodiscard]] Result<Plan> decide(const Question& question);

} // namespace muster::planner
