/// TreeProblem: what a recipe means to boosted trees. No torch.
#pragma once

#include "model/preprocessing.h"
#include "model/recipe.h"
#include "worker/boosted_trees.h"
#include "worker/matrix.h"
#include "worker/sampler.h"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace muster::worker {

/// Returns how many steps before its newest row each row of a sample is, oldest first: 0 alone, but of windows.
[[nodiscard]] std::vector<std::int64_t> rows_of_sample(const Recipe& recipe);

/// A column of a sample.
struct SampleColumn {
    std::int64_t position{}; ///< among the columns of all its rows, oldest row first
    std::int64_t before{};   ///< steps before the newest row
    std::size_t input{};     ///< number in Preprocessing::inputs
    std::int64_t part{};     ///< of the input's columns
};

/// Returns the columns of a sample: all of its rows, but of dates those of the newest row only, as the others are as
/// far from it in each sample.
[[nodiscard]] std::vector<SampleColumn> columns_of_sample(const Recipe& recipe, const Preprocessing& preprocessing);

/// Returns what a column of a sample is called in a model text, [columns of a sample]: the input's name, of dates with
/// what it is of, of windows with the steps before the newest row. Letters, digits and "_-." only, each once.
[[nodiscard]] std::vector<std::string> sample_columns(const Recipe& recipe, const Preprocessing& preprocessing);

/// Returns the loss as trees minimise it. `targets` are those of the training rows, for balanced class weights.
[[nodiscard]] TreeObjective
tree_objective(const Recipe& recipe, const Preprocessing& preprocessing, std::span<const float> targets);

/// Returns how trees are grown. `threads`: 1 or more.
[[nodiscard]] TreeParameters tree_parameters(const Recipe& recipe, int threads);

/// Samples in the form in which trees read them: the matrix itself, but of windows a copy of the rows of each.
/// Movable; the matrix outlives it.
class TreeSamples {
public:
    /// Takes the samples that end with these rows of `matrix`; of a table all rows, under their own numbers.
    TreeSamples(const Recipe& recipe,
                const Preprocessing& preprocessing,
                const Matrix& matrix,
                std::span<const std::int64_t> ends);

    [[nodiscard]] std::span<const float> features() const;
    [[nodiscard]] std::span<const float> target() const;
    [[nodiscard]] std::int64_t columns() const { return columns_; }
    /// The number here of the sample with this position among `ends`.
    [[nodiscard]] std::int64_t number(std::size_t position) const {
        return copied_ ? static_cast<std::int64_t>(position) : ends_[position];
    }

private:
    const Matrix* matrix_;
    std::int64_t columns_;
    bool copied_;
    std::vector<std::int64_t> ends_{}; ///< unless copied
    std::vector<float> features_{};    ///< where copied
    std::vector<float> target_{};
};

/// Returns the columns of a sample that hold numbers of categories.
[[nodiscard]] std::vector<int> category_columns(const Recipe& recipe, const Preprocessing& preprocessing);

} // namespace muster::worker
