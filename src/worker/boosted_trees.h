/// Training of boosted trees: LightGBM's data-parallel learner over a group of ours. No torch.
#pragma once

#include "collective/group.h"
#include "worker/decision_tree.h"
#include "worker/tree_objective.h"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace muster::worker {

/// How trees are grown. Names in LightGBM's documentation are given where they differ.
struct TreeParameters {
    int trees{100}; ///< of each output, at most
    int leaves{31};
    double learning_rate{0.1};
    int min_rows_in_leaf{20}; ///< min_data_in_leaf
    int bins{255};            ///< max_bin
    int depth{0};             ///< max_depth; 0: as the leaves allow
    double l2{0.0};           ///< lambda_l2
    double row_sampling{1.0}; ///< share of the rows that a tree sees, in (0, 1]; the same rows however they are divided
    double column_sampling{1.0}; ///< feature_fraction, in (0, 1]
    std::uint64_t seed{};
    int threads{1};
};

/// What is trained on. Everything outlives the training; every member sees all rows and only computes with its own.
struct TreeData {
    std::span<const float> features; ///< [rows, columns] row-major; NaN = missing
    std::int64_t columns{};
    std::span<const float> target;               ///< [rows]: a value, or 0 and 1, or a class index
    std::span<const std::int64_t> training_rows; ///< numbers of the rows of all members; the same at each of them
    std::span<const std::int64_t> own_rows;      ///< this member's; all members' together are the training rows
    std::vector<int> categorical{};              ///< columns that hold category numbers, 0 and up
    std::string start{}; ///< text of trees that come first; empty: none. It counts among the trees to be made
};

/// One training. One thread at a time; every member makes the same calls in the same order. The group outlives it.
///
/// Gradients are rounded so that their sums are exact: all members get the same trees to the bit, and for l2, l1 and
/// quantile without row sampling also those of one member alone, however the rows are divided. For the others LightGBM
/// estimates how many rows a leaf has once there are several members, so that a tree may differ from one member's.
/// Leaves of l1 and quantile get the exact quantile over all members' rows (leaf_quantiles.h).
///
/// What the group throws (GroupFailed) passes through, and the training is dead: every later call throws
/// std::logic_error. The thread, and a new group, can train again.
class BoostedTrees {
public:
    /// Makes the bins, from a sample of the training rows, and checks that all members have the same.
    ///   group  null: alone
    /// Throws std::invalid_argument when data and parameters cannot be meant, or members do not agree on them, or have
    /// other than the training rows between them; std::runtime_error with LightGBM's words; what the group throws.
    BoostedTrees(const TreeData& data,
                 const TreeObjective& objective,
                 const TreeParameters& parameters,
                 collective::Group* group);
    ~BoostedTrees();
    BoostedTrees(const BoostedTrees&) = delete;
    BoostedTrees& operator=(const BoostedTrees&) = delete;

    /// Makes one more tree for each output. False, at all members, when there is none: `trees` are made, or no split
    /// is worth it. The first is always there afterwards, if only with one leaf.
    /// Throws what the group throws, and std::runtime_error.
    bool grow();
    /// Trees of each output so far.
    [[nodiscard]] int iterations() const;

    /// Returns raw scores [rows of `rows`, outputs] of all trees so far, the initial score included, of the rows of
    /// `features` with these numbers. No communication.
    [[nodiscard]] std::vector<double> predict_raw(std::span<const std::int64_t> rows) const;
    /// Adds to `scores` [rows of `rows`, outputs] what the last trees changed; before the first tree they are 0. What
    /// predict_raw returns, for the cost of one tree.
    void add_newest(std::span<const std::int64_t> rows, std::span<double> scores) const;

    /// Returns the first `iterations` (at least 1, at most those made) as a LightGBM model text, in which the initial
    /// scores are part of the first trees: whatever reads it predicts what predict_raw returns. The same text at all
    /// members. Throws std::invalid_argument.
    [[nodiscard]] std::string text(int iterations) const;
    /// Returns how many bytes the histograms of one tree of each output take, which members reduce.
    [[nodiscard]] std::int64_t histogram_bytes() const;
    /// Returns a SHA-256 of all trees so far, for members to compare.
    [[nodiscard]] std::string digest() const;

private:
    class Learner;
    std::unique_ptr<Learner> learner_;
};

} // namespace muster::worker
