/// One tree of a LightGBM model text, read without trust. No torch.
#pragma once

#include "base/result.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string_view>
#include <vector>

namespace muster::worker {

/// A binary tree whose leaves hold numbers. A value; safe to read from any thread.
class DecisionTree {
public:
    /// The lines of a `Tree=` block, key and value.
    using Lines = std::map<std::string_view, std::string_view>;

    /// Reads a block. After it every child, feature and category set exists and
    /// every walk from the root ends in a leaf.
    ///   columns  features are numbered below this
    /// Errors: invalid_argument, naming the line.
    [[nodiscard]] static Result<DecisionTree> parse(const Lines& lines, std::int64_t columns);

    [[nodiscard]] int leaves() const { return static_cast<int>(values_.size()); }
    [[nodiscard]] double value(int leaf) const { return values_[static_cast<std::size_t>(leaf)]; }
    void set_value(int leaf, double value) { values_[static_cast<std::size_t>(leaf)] = value; }

    /// Returns the leaf of a row [columns] of float or double.
    template <typename Number>
    [[nodiscard]] int leaf_of(const Number* row) const {
        int at = nodes_.empty() ? -1 : 0;
        while (at >= 0) {
            const Node& node = nodes_[static_cast<std::size_t>(at)];
            at = goes_left(node, static_cast<double>(row[node.column])) ? node.left : node.right;
        }
        return -1 - at;
    }

private:
    enum class Missing { none, zero, nan };

    struct Node {
        std::int64_t column{};
        double threshold{}; ///< or the number of a category set
        int left{};         ///< a node, or -1 - leaf
        int right{};
        bool categorical{};
        bool default_left{};
        Missing missing{};
    };

    [[nodiscard]] bool goes_left(const Node& node, double value) const;
    /// Read category sets, `count` of them, and then the nodes that name them.
    [[nodiscard]] Result<void> read_sets(const Lines& lines, std::size_t count);
    [[nodiscard]] Result<void> read_nodes(const Lines& lines, std::int64_t columns);
    /// Returns what a node cannot be, or "".
    [[nodiscard]] std::string_view fault_of(const Node& node, std::size_t at, std::int64_t columns) const;

    std::vector<Node> nodes_;
    std::vector<double> values_;
    std::vector<std::size_t> set_begin_; ///< [sets + 1], words of sets_
    std::vector<std::uint32_t> sets_;    ///< bit c of a set: category c goes left
};

} // namespace muster::worker
