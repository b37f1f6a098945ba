/// Predictions of boosted trees from a LightGBM model text. No torch, and no LightGBM: its own reader trusts the text.
#pragma once

#include "base/result.h"
#include "worker/decision_tree.h"
#include "worker/tree_objective.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace muster::worker {

/// What a model text may cost at most.
struct TreeModelLimits {
    std::size_t text_bytes_max{std::size_t{256} << 20U};
    std::int64_t columns_max{1 << 20};
    int outputs_max{10'000};
};

/// Boosted trees of the objectives of TreeObjective. A value; safe to read from any thread. Predicts the same numbers
/// as LightGBM itself, to the bit where the sums are the same.
class TreeModel {
public:
    /// Reads a text of LightGBM's format version 4, which may be anybody's.
    /// Errors: invalid_argument, naming the tree and the line; resource_exhausted.
    [[nodiscard]] static Result<TreeModel> parse(std::string_view text, const TreeModelLimits& limits = {});

    [[nodiscard]] const TreeObjective& objective() const { return objective_; }
    [[nodiscard]] std::int64_t columns() const { return columns_; }
    /// Numbers that a row gets.
    [[nodiscard]] int outputs() const { return objective_.outputs(); }
    [[nodiscard]] int iterations() const { return static_cast<int>(trees_.size()) / outputs(); }
    /// In the order of the text: the trees of one iteration, one for each output, side by side.
    [[nodiscard]] const std::vector<DecisionTree>& trees() const { return trees_; }

    /// Returns the sums of the trees, [rows, outputs], of `rows` [rows, columns] row-major (NaN = missing).
    /// Throws std::invalid_argument when `rows` is no whole number of rows.
    [[nodiscard]] std::vector<double> predict_raw(std::span<const double> rows) const;
    /// The same in terms of the target: values, or probabilities of class 1 or of each class.
    [[nodiscard]] std::vector<double> predict(std::span<const double> rows) const;

private:
    TreeObjective objective_;
    std::int64_t columns_{};
    std::vector<DecisionTree> trees_;
};

} // namespace muster::worker
