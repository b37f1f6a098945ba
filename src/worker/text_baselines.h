/// What a language model must beat to be worth its training: counts of single tokens and of pairs. No torch.
#pragma once

#include "model/messages.h"
#include "worker/evaluation.h"

#include <cstdint>
#include <span>
#include <vector>

namespace muster::worker {

/// Above so many tokens of vocabulary there is no table of pairs (8 bytes each).
inline constexpr std::int64_t bigram_vocabulary_max = 4096;

/// Counts the tokens of the `training` samples (first rows, `sequence` each) and evaluates on each of `sets`.
///   "naive"   each token by how often it occurs, one more than counted
///   "bigram"  by how often it follows the one before it, mixed with "naive" as much as the one before led to different
///             tokens (Witten and Bell); left out above bigram_vocabulary_max
[[nodiscard]] std::vector<EvaluationResult> text_baselines(const Matrix& matrix,
                                                           std::span<const std::int64_t> training,
                                                           std::int64_t sequence,
                                                           std::int64_t vocabulary,
                                                           std::span<const RowSet> sets);

} // namespace muster::worker
