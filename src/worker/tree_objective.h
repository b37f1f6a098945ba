/// What boosted trees minimise: initial scores, gradients, and the way from raw scores to predictions. No torch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace muster::worker {

enum class TreeLoss { l2, l1, quantile, poisson, binary, multiclass };

struct TreeObjective {
    TreeLoss loss{TreeLoss::l2};
    double alpha{0.5};                   ///< quantile: in (0, 1)
    int classes{2};                      ///< multiclass: 2 or more
    std::vector<double> class_weights{}; ///< how much a row of each class counts; empty: all as much

    /// Raw scores of a row, and trees of an iteration.
    [[nodiscard]] int outputs() const { return loss == TreeLoss::multiclass ? classes : 1; }
    /// Whether a leaf's value is a quantile of the residuals of its rows.
    [[nodiscard]] bool renews_leaves() const { return loss == TreeLoss::l1 || loss == TreeLoss::quantile; }
    /// Of the residuals, where leaves are renewed.
    [[nodiscard]] double quantile() const { return loss == TreeLoss::l1 ? 0.5 : alpha; }
    /// As in a LightGBM model text, e.g. "binary sigmoid:1".
    [[nodiscard]] std::string text() const;
    /// How much a row counts.
    [[nodiscard]] double weight_of(float target) const {
        return class_weights.empty() ? 1.0 : class_weights[static_cast<std::size_t>(target)];
    }
};

/// Returns the score that every row starts with, one for each output: mean, quantile, log of the mean, log-odds, or log
/// of the priors of `targets` [any number > 0]. Throws std::invalid_argument, naming the first target that the
/// objective cannot have.
[[nodiscard]] std::vector<double> initial_scores(const TreeObjective& objective, std::span<const float> targets);

/// Computes first and second derivatives of the loss by the raw score, as LightGBM's own objectives do.
///   targets            [rows]
///   scores             [outputs, rows]
///   gradients, hessians [outputs, rows]
void derive(const TreeObjective& objective,
            std::span<const float> targets,
            std::span<const double> scores,
            std::span<float> gradients,
            std::span<float> hessians);

/// Rounds `values` to multiples of a power of two so small that they hardly change, and so large that every sum of
/// `count` of them is exact in float64: sums are then the same bits in any order and on any number of ranks.
///   largest  the largest absolute value of all ranks' values
/// Source: Demmel and Nguyen, "Fast Reproducible Floating-Point Summation" (2013), with one fixed bin.
void round_for_exact_sums(std::span<float> values, double largest, std::int64_t count);

/// Turns the raw scores of one row [outputs] into predictions in place: a value, a probability, or one of each class.
void transform(const TreeObjective& objective, std::span<double> scores);

} // namespace muster::worker
