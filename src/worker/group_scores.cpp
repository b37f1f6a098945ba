#include "worker/group_scores.h"

#include <algorithm>
#include <string>

namespace muster::worker {
namespace {

/// An input that is a category, and where its columns begin in an encoded row.
struct CategoryInput {
    const InputColumn* input{};
    std::int64_t first{};
};

CategoryInput find_input(const Preprocessing& preprocessing, const std::string& name) {
    std::int64_t first = 0;
    for (const InputColumn& input : preprocessing.inputs) {
        if (input.name == name) {
            return {&input, first};
        }
        first += encoded_columns(input);
    }
    return {};
}

/// The category of a row; their number, when it has none of them.
std::size_t category_of(const CategoryInput& category, const float* row) {
    const float* const first = row + category.first;
    const auto count = std::ssize(category.input->categories);
    if (category.input->raw) {
        return static_cast<std::size_t>(
            *first >= 0.0F && *first < static_cast<float>(count) ? static_cast<std::ptrdiff_t>(*first) : count);
    }
    return static_cast<std::size_t>(std::find(first, first + count, 1.0F) - first);
}

/// Some of the predictions, on their own.
struct Picked {
    std::vector<double> values;
    std::vector<float> target;
};

Picked pick(const Predictions& made, const std::vector<std::size_t>& positions) {
    Picked picked;
    const auto width = static_cast<std::size_t>(made.outputs);
    for (const std::size_t position : positions) {
        const auto values = made.values.subspan(position * width, width);
        picked.values.insert(picked.values.end(), values.begin(), values.end());
        picked.target.push_back(made.target[position]);
    }
    return picked;
}

} // namespace

Result<void> check_report_by(const Recipe& recipe, const Preprocessing& preprocessing) {
    for (std::size_t i = 0; i < recipe.report_by.size(); ++i) {
        const CategoryInput found = find_input(preprocessing, recipe.report_by[i]);
        if (found.input != nullptr && found.input->kind == ColumnKind::category) {
            continue;
        }
        std::vector<std::string> allowed;
        for (const InputColumn& input : preprocessing.inputs) {
            if (input.kind == ColumnKind::category) {
                allowed.push_back(input.name);
            }
        }
        Error error = not_allowed("/report_by/" + std::to_string(i), recipe.report_by[i], std::move(allowed));
        error.message += ": scores are reported by inputs that are categories";
        return error;
    }
    return {};
}

std::vector<GroupScores> group_scores(const Recipe& recipe,
                                      const Preprocessing& preprocessing,
                                      const Matrix& matrix,
                                      std::span<const std::int64_t> rows,
                                      const Predictions& made) {
    std::vector<GroupScores> all;
    for (const std::string& name : recipe.report_by) {
        const CategoryInput category = find_input(preprocessing, name);
        const std::vector<std::string>& names = category.input->categories;
        std::vector<std::vector<std::size_t>> positions(names.size() + 1);
        for (std::size_t i = 0; i < rows.size(); ++i) {
            positions[category_of(category, matrix.row(rows[i]))].push_back(i);
        }
        for (std::size_t group = 0; group < positions.size(); ++group) {
            if (positions[group].empty()) {
                continue;
            }
            const Picked picked = pick(made, positions[group]);
            Predictions part = made;
            part.values = picked.values;
            part.target = picked.target;
            all.push_back({.input = name,
                           .name = group < names.size() ? names[group] : std::string{},
                           .rows = std::ssize(positions[group]),
                           .scores = scores_of(part)});
        }
    }
    return all;
}

} // namespace muster::worker
