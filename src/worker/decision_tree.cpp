#include "worker/decision_tree.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <string>

namespace muster::worker {
namespace {

using Lines = DecisionTree::Lines;

constexpr double zero_max = 1e-35F; ///< LightGBM's kZeroThreshold, a float
constexpr int categorical_bit = 1;
constexpr int default_left_bit = 2;

Error wrong(std::string_view line, std::string_view why) {
    return {.code = ErrorCode::invalid_argument, .message = fmt::format("line {}: {}", line, why)};
}

/// Reads exactly `count` numbers between single spaces.
template <typename Number>
Result<std::vector<Number>> numbers(const Lines& lines, std::string_view key, std::size_t count) {
    const auto found = lines.find(key);
    if (found == lines.end()) {
        return wrong(key, "is missing");
    }
    const std::string_view text = found->second;
    if (text.size() < count) { // Before memory is taken for as many.
        return wrong(key, fmt::format("holds fewer than {} numbers", count));
    }
    std::vector<Number> result;
    result.reserve(count);
    const char* at = text.data();
    const char* const end = at + text.size();
    while (at != end) {
        if (*at == ' ') {
            ++at;
            continue;
        }
        Number number{};
        const auto [next, error] = std::from_chars(at, end, number);
        if (error != std::errc{} || (next != end && *next != ' ') || result.size() == count) {
            return wrong(key, fmt::format("is not a list of {} numbers", count));
        }
        result.push_back(number);
        at = next;
    }
    if (result.size() != count) {
        return wrong(key, fmt::format("holds {} numbers instead of {}", result.size(), count));
    }
    return result;
}

Result<std::int64_t> number(const Lines& lines, std::string_view key) {
    auto list = numbers<std::int64_t>(lines, key, 1);
    if (!list) {
        return std::move(list).error();
    }
    return list->front();
}

} // namespace

bool DecisionTree::goes_left(const Node& node, double value) const {
    if (node.categorical) {
        // As LightGBM: no category is negative or missing, and a fraction is cut off.
        if (!(value > -1.0) || value > static_cast<double>(std::numeric_limits<std::int32_t>::max())) {
            return false;
        }
        const auto category = static_cast<std::size_t>(static_cast<std::int32_t>(value));
        const auto set = static_cast<std::size_t>(node.threshold);
        const std::size_t word = set_begin_[set] + category / 32;
        return word < set_begin_[set + 1] && ((sets_[word] >> (category % 32)) & 1U) != 0;
    }
    const bool nan = std::isnan(value);
    if (nan && node.missing != Missing::nan) {
        value = 0.0;
    }
    if ((node.missing == Missing::zero && std::abs(value) <= zero_max) || (node.missing == Missing::nan && nan)) {
        return node.default_left;
    }
    return value <= node.threshold;
}

std::string_view DecisionTree::fault_of(const Node& node, std::size_t at, std::int64_t columns) const {
    const std::size_t nodes = values_.size() - 1;
    if (node.column < 0 || node.column >= columns) {
        return "names a column that there is not";
    }
    for (const int child : {node.left, node.right}) {
        // LightGBM numbers a node after its parent; so no walk comes back.
        if (child >= 0 ? static_cast<std::size_t>(child) <= at || static_cast<std::size_t>(child) >= nodes
                       : static_cast<std::size_t>(-1 - child) > nodes) {
            return "names a child that there is not";
        }
    }
    if (std::isnan(node.threshold)) {
        return "has no threshold";
    }
    if (node.categorical && !(node.threshold >= 0.0 && node.threshold + 1.0 < static_cast<double>(set_begin_.size()))) {
        return "names a category set that there is not";
    }
    return "";
}

Result<void> DecisionTree::read_sets(const Lines& lines, std::size_t count) {
    const auto begin = numbers<std::int64_t>(lines, "cat_boundaries", count + 1);
    if (!begin) {
        return begin.error();
    }
    const auto words = lines.find("cat_threshold");
    if (begin->front() != 0 || !std::ranges::is_sorted(*begin) || words == lines.end() ||
        static_cast<std::uint64_t>(begin->back()) > words->second.size()) {
        return wrong("cat_boundaries", "does not fit cat_threshold");
    }
    auto bits = numbers<std::uint32_t>(lines, "cat_threshold", static_cast<std::size_t>(begin->back()));
    if (!bits) {
        return std::move(bits).error();
    }
    set_begin_.assign(begin->begin(), begin->end());
    sets_ = std::move(bits).value();
    return {};
}

Result<void> DecisionTree::read_nodes(const Lines& lines, std::int64_t columns) {
    const std::size_t count = values_.size() - 1;
    const auto column = numbers<std::int64_t>(lines, "split_feature", count);
    const auto threshold = numbers<double>(lines, "threshold", count);
    const auto decision = numbers<int>(lines, "decision_type", count);
    const auto left = numbers<int>(lines, "left_child", count);
    const auto right = numbers<int>(lines, "right_child", count);
    for (const auto* list : {&decision, &left, &right}) {
        if (!*list) {
            return list->error();
        }
    }
    if (!column || !threshold) {
        return column ? threshold.error() : column.error();
    }
    for (std::size_t at = 0; at < count; ++at) {
        const int kind = (*decision)[at];
        if (kind < 0 || kind > 11) { // Two bits of kind, and two of what is missing: none, zero, nan.
            return wrong("decision_type", fmt::format("{} is not known", kind));
        }
        const Node node{.column = (*column)[at],
                        .threshold = (*threshold)[at],
                        .left = (*left)[at],
                        .right = (*right)[at],
                        .categorical = (kind & categorical_bit) != 0,
                        .default_left = (kind & default_left_bit) != 0,
                        .missing = static_cast<Missing>(kind >> 2)};
        if (const std::string_view fault = fault_of(node, at, columns); !fault.empty()) {
            return wrong("split_feature", fmt::format("node {} {}", at, fault));
        }
        nodes_.push_back(node);
    }
    return {};
}

Result<DecisionTree> DecisionTree::parse(const Lines& lines, std::int64_t columns) {
    constexpr std::int64_t leaves_max = 1 << 20;
    const auto leaves = number(lines, "num_leaves");
    const auto sets = leaves ? number(lines, "num_cat") : leaves;
    if (!sets) {
        return sets.error();
    }
    if (*leaves < 1 || *leaves > leaves_max || *sets < 0 || *sets >= *leaves) {
        return wrong("num_leaves", fmt::format("{} leaves and {} category sets cannot be", *leaves, *sets));
    }
    if (const auto linear = lines.find("is_linear"); linear != lines.end() && linear->second != "0") {
        return wrong("is_linear", "leaves that are linear models are not supported");
    }
    DecisionTree tree;
    auto values = numbers<double>(lines, "leaf_value", static_cast<std::size_t>(*leaves));
    if (!values) {
        return std::move(values).error();
    }
    tree.values_ = std::move(values).value();
    if (!std::ranges::all_of(tree.values_, [](double value) { return std::isfinite(value); })) {
        return wrong("leaf_value", "is not finite");
    }
    auto read = *sets > 0 ? tree.read_sets(lines, static_cast<std::size_t>(*sets)) : Result<void>{};
    if (read && *leaves > 1) {
        read = tree.read_nodes(lines, columns);
    }
    if (!read) {
        return std::move(read).error();
    }
    return tree;
}

} // namespace muster::worker
