#include "worker/tree_model.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

namespace muster::worker {
namespace {

using Lines = DecisionTree::Lines;

Error wrong(std::string message) {
    return {.code = ErrorCode::invalid_argument, .message = std::move(message)};
}

/// Takes the lines of a text one after the other.
class Reader {
public:
    explicit Reader(std::string_view text) : rest_{text} {}

    /// The next line without its end; nothing at the end of the text.
    std::optional<std::string_view> line() {
        if (rest_.empty()) {
            return std::nullopt;
        }
        const std::size_t end = rest_.find('\n');
        std::string_view line = rest_.substr(0, end);
        rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end + 1);
        if (line.ends_with('\r')) {
            line.remove_suffix(1);
        }
        return line;
    }

    /// The lines `key=value` up to one that is empty or is `end of trees`; blank ones before are passed over. What
    /// ended them is not among them. A line without `=` is a key.
    Lines block() {
        Lines lines;
        while (const auto next = line()) {
            if (next->empty() && lines.empty()) {
                continue;
            }
            if (next->empty()) {
                break;
            }
            const std::size_t equals = next->find('=');
            lines.emplace(next->substr(0, equals),
                          equals == std::string_view::npos ? std::string_view{} : next->substr(equals + 1));
            if (*next == "end of trees") {
                break;
            }
        }
        return lines;
    }

private:
    std::string_view rest_;
};

template <typename Number>
std::optional<Number> number_of(std::string_view text) {
    Number number{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    return error == std::errc{} && end == text.data() + text.size() ? std::optional{number} : std::nullopt;
}

std::optional<std::int64_t> number_in(const Lines& lines, std::string_view key) {
    const auto found = lines.find(key);
    return found == lines.end() ? std::nullopt : number_of<std::int64_t>(found->second);
}

/// The rest of `text` after `begin`, as a number.
template <typename Number>
std::optional<Number> number_after(std::string_view text, std::string_view begin) {
    return text.starts_with(begin) ? number_of<Number>(text.substr(begin.size())) : std::nullopt;
}

Result<TreeObjective> objective_of(const Lines& header) {
    const auto found = header.find("objective");
    const std::string_view text = found == header.end() ? std::string_view{} : found->second;
    for (const TreeLoss loss : {TreeLoss::l2, TreeLoss::l1, TreeLoss::poisson, TreeLoss::binary}) {
        const TreeObjective objective{.loss = loss};
        if (text == objective.text()) {
            return objective;
        }
    }
    if (text == "quantile" || text.starts_with("quantile ")) {
        return TreeObjective{.loss = TreeLoss::quantile,
                             .alpha = number_after<double>(text, "quantile alpha:").value_or(0.5)};
    }
    if (const auto classes = number_after<int>(text, "multiclass num_class:"); classes && *classes >= 2) {
        return TreeObjective{.loss = TreeLoss::multiclass, .classes = *classes};
    }
    return not_allowed(
        "objective",
        std::string{text.substr(0, 60)},
        {"regression", "regression_l1", "quantile", "poisson", "binary sigmoid:1", "multiclass num_class:N"});
}

} // namespace

Result<TreeModel> TreeModel::parse(std::string_view text, const TreeModelLimits& limits) {
    if (text.size() > limits.text_bytes_max) {
        return Error{.code = ErrorCode::resource_exhausted,
                     .message = fmt::format("a model of {} bytes; {} are allowed", text.size(), limits.text_bytes_max)};
    }
    Reader reader{text};
    if (reader.line() != "tree") {
        return wrong("this is no LightGBM model: its first line is not 'tree'");
    }
    const Lines header = reader.block();
    if (const auto version = header.find("version"); version == header.end() || version->second != "v4") {
        return wrong("this is no LightGBM model of version v4");
    }
    if (header.contains("average_output")) {
        return wrong("random forests are not supported");
    }
    auto objective = objective_of(header);
    if (!objective) {
        return std::move(objective).error();
    }
    TreeModel model;
    model.objective_ = std::move(objective).value();
    const auto last_column = number_in(header, "max_feature_idx");
    if (!last_column || *last_column < 0 || *last_column >= limits.columns_max ||
        model.outputs() > limits.outputs_max) {
        return wrong("max_feature_idx or the number of classes is missing or beyond the limit");
    }
    if (number_in(header, "num_tree_per_iteration") != model.outputs()) {
        return wrong("num_tree_per_iteration does not fit the objective");
    }
    model.columns_ = *last_column + 1;
    for (Lines lines = reader.block(); !lines.contains("end of trees"); lines = reader.block()) {
        const std::string place = fmt::format("tree {}", model.trees_.size());
        if (!lines.contains("Tree")) {
            return wrong(lines.empty() ? "the text ends before 'end of trees'"
                                       : place + " does not begin with 'Tree='");
        }
        auto tree = DecisionTree::parse(lines, model.columns_);
        if (!tree) {
            return std::move(tree).error().within(place);
        }
        model.trees_.push_back(std::move(tree).value());
    }
    if (model.trees_.empty() || model.trees_.size() % static_cast<std::size_t>(model.outputs()) != 0) {
        return wrong(fmt::format("{} trees are no whole iterations of {}", model.trees_.size(), model.outputs()));
    }
    return model;
}

std::vector<double> TreeModel::predict_raw(std::span<const double> rows) const {
    const auto width = static_cast<std::size_t>(columns_);
    const auto outputs = static_cast<std::size_t>(objective_.outputs());
    if (rows.size() % width != 0) {
        throw std::invalid_argument{fmt::format("{} numbers are no rows of {} columns", rows.size(), width)};
    }
    std::vector<double> scores(rows.size() / width * outputs);
    for (std::size_t row = 0; row * width < rows.size(); ++row) {
        for (std::size_t at = 0; at < trees_.size(); ++at) {
            scores[row * outputs + at % outputs] += trees_[at].value(trees_[at].leaf_of(&rows[row * width]));
        }
    }
    return scores;
}

std::vector<double> TreeModel::predict(std::span<const double> rows) const {
    std::vector<double> scores = predict_raw(rows);
    const auto outputs = static_cast<std::size_t>(objective_.outputs());
    for (std::size_t at = 0; at < scores.size(); at += outputs) {
        transform(objective_, std::span{scores}.subspan(at, outputs));
    }
    return scores;
}

} // namespace muster::worker
