/// Trains a model alone or with others: data parallelism, or a pipeline of its stages.
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "model/messages.h"
#include "model/recipe.h"
#include "model/scoring.h"
#include "model/stage.h"
#include "worker/matrix.h"
#include "worker/program.h"

#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>

#include <cstdint>
#include <functional>
#include <stop_token>
#include <vector>

namespace muster::worker {

/// One generation of a training, for one member.
struct TrainingOrder {
    c10::intrusive_ptr<c10d::ProcessGroup> group{}; ///< null: one function alone
    std::vector<std::int64_t> batch_rows{};         ///< by rank: rows of each full global batch; 0 is allowed
    std::vector<double> state_shares{};   ///< by rank: part of the optimizer's state; 1 for each, or none: all
    std::vector<ModelStage> stages{};     ///< by rank, in the order of the chain, replica after replica; empty: data
                                          ///< parallelism
    std::int64_t micro_rows{};            ///< rows of a micro-batch, with stages
    DataLayout layout{DataLayout::whole}; ///< pinned: `matrices` are the member's own rows, and others have others
    int best_weights{-1};                 ///< file for recipe.early_stopping, see BestWeights
    std::vector<PerformanceRequirement> requirements{}; ///< for recipe.stop_when_met
    std::function<void(const Progress&)> progress{};    ///< called on the training thread; job, generation left empty
    std::function<std::int64_t()> bytes_sent{};         ///< of the data plane since start; may be empty
    Duration progress_interval{std::chrono::milliseconds{250}}; ///< between calls of `progress`; epochs report too
    SteadyTime started{std::chrono::steady_clock::now()};       ///< when Start arrived
    std::stop_token stop{};                                     ///< asks to end after the current step, on all ranks
};

/// Trains `program` for the recipe's epochs and evaluates it. Runs on the calling thread (see prepare_thread) until
/// done; all members must pass the same recipe, data, batch_rows, state_shares and stages. With stages `program` holds
/// the own one, batch_rows are those of the member's replica, and where a replica begins is the data; the others' may
/// be elsewhere (Matrix::held).
/// In layout "pinned" batch_rows are in proportion to the members' own training rows (worker/pinned_rows.h).
///
/// Returns Done without job, generation and model (the caller writes the archive); evaluations and preprocessing are
/// filled at rank 0: "trained" and the baselines (worker/baselines.h) on "training", "validation" and "test" rows.
///
/// Errors, the same on every rank and in the same step: invalid_argument, "loss is not a number at step k", when it
/// is; conflict, when members differ in data or plan; unavailable, "stopped at step k", when any rank was asked to.
/// Throws what the group throws (c10::Error with the group's words), when a member is lost.
[[nodiscard]] Result<Done> train(ModelProgram& program,
                                 const Recipe& recipe,
                                 const Preprocessing& preprocessing,
                                 const MatrixSet& matrices,
                                 const TrainingOrder& order);

} // namespace muster::worker
