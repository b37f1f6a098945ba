/// Evaluator: predictions for many rows and their scores, the work shared among the members.
#pragma once

#include "model/messages.h"
#include "worker/batch.h"
#include "worker/engine.h"
#include "worker/metrics.h"
#include "worker/program.h"
#include "worker/ranks.h"

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace muster::worker {

/// Named rows of a matrix, to be evaluated.
struct RowSet {
    const char* name{}; ///< "training", "validation", "test"
    const Matrix* matrix{};
    std::vector<std::int64_t> rows;
};

/// Evaluates a model through its engine. References outlive it. One thread; with several ranks, all call it alike.
class Evaluator {
public:
    /// `program` turns the engine's outputs into what a consumer sees. `pinned`: the rows of each rank are its own, and
    /// what it passes to the others are sums over them; the scores are those of all ranks' rows.
    Evaluator(Engine& engine,
              const ModelProgram& program,
              const Recipe& recipe,
              const Preprocessing& preprocessing,
              Ranks& ranks,
              bool pinned = false);

    /// Computes the scores on rows of `matrix`. Every rank predicts its part of the rows, all get all predictions and
    /// compute the same scores, so neither the scores nor what is decided by them depends on the shares. At a rank that
    /// does not hold the data they may be empty. Throws what the group throws.
    /// Of a text, `rows` are the first ones of samples.
    [[nodiscard]] std::vector<Score> scores(const Matrix& matrix, std::span<const std::int64_t> rows);

    /// Like scores(), also the scores of each class, where the model tells classes apart, and by recipe.report_by.
    [[nodiscard]] EvaluationResult evaluate(const char* model, const RowSet& set);

private:
    /// Calls `each` with what the model says of all rows; not at ranks that do not hold these. Not of a text.
    template <typename Each>
    void with_predictions(const Matrix& matrix, std::span<const std::int64_t> rows, Each each);
    /// Calls `each` with the outputs of a piece of this rank's part of `rows` and where it begins in the whole; not at
    /// ranks that do not hold the end of the model.
    template <typename Each>
    void for_own_outputs(const Matrix& matrix, std::span<const std::int64_t> rows, Each each);
    std::vector<Score> text_scores(const Matrix& matrix, std::span<const std::int64_t> samples);

    Engine& engine_;
    const ModelProgram& program_;
    const Recipe& recipe_;
    const Preprocessing& preprocessing_;
    TaskKind task_;
    std::int64_t outputs_;
    Ranks& ranks_;
    SumOver sum_over_;      ///< where the rows are pinned
    std::int64_t sequence_; ///< tokens of a sample; 0: rows of a table
    std::int64_t chunk_rows_;
    std::optional<BatchBuffer> buffer_; ///< where rows are read
};

/// Adds up numbers over all ranks, which outlive what is returned. It throws what the group throws.
[[nodiscard]] SumOver sum_over_of(Ranks& ranks);

/// Returns the targets of `rows`.
[[nodiscard]] std::vector<float> targets_of(const Matrix& matrix, std::span<const std::int64_t> rows);

} // namespace muster::worker
