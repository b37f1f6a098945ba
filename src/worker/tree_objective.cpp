#include "worker/tree_objective.h"

#include "worker/leaf_quantiles.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace muster::worker {
namespace {

/// LightGBM's own bounds: no probability is 0, and Poisson's second derivative is taken a step ahead.
constexpr double probability_min = 1e-15;
constexpr double poisson_step = 0.7;

bool may_be(const TreeObjective& objective, float target) {
    switch (objective.loss) {
    case TreeLoss::poisson:
        return std::isfinite(target) && target >= 0.0F;
    case TreeLoss::binary:
        return target == 0.0F || target == 1.0F;
    case TreeLoss::multiclass:
        return target >= 0.0F && target < static_cast<float>(objective.classes) && std::floor(target) == target;
    case TreeLoss::l2:
    case TreeLoss::l1:
    case TreeLoss::quantile:
        break;
    }
    return std::isfinite(target);
}

void softmax(std::span<double> scores) {
    const double largest = std::ranges::max(scores);
    double sum = 0.0;
    for (double& score : scores) {
        score = std::exp(score - largest);
        sum += score;
    }
    for (double& score : scores) {
        score /= sum;
    }
}

void derive_multiclass(int classes,
                       std::span<const float> targets,
                       std::span<const double> scores,
                       std::span<float> gradients,
                       std::span<float> hessians) {
    const auto width = static_cast<std::size_t>(classes);
    const double factor = static_cast<double>(classes) / (classes - 1.0);
    std::vector<double> shares(width);
    for (std::size_t row = 0; row < targets.size(); ++row) {
        for (std::size_t k = 0; k < width; ++k) {
            shares[k] = scores[k * targets.size() + row];
        }
        softmax(shares);
        for (std::size_t k = 0; k < width; ++k) {
            const std::size_t at = k * targets.size() + row;
            gradients[at] = static_cast<float>(shares[k] - (static_cast<std::size_t>(targets[row]) == k ? 1.0 : 0.0));
            hessians[at] = static_cast<float>(factor * shares[k] * (1.0 - shares[k]));
        }
    }
}

} // namespace

std::string TreeObjective::text() const {
    switch (loss) {
    case TreeLoss::l2:
        return "regression";
    case TreeLoss::l1:
        return "regression_l1";
    case TreeLoss::quantile:
        return fmt::format("quantile alpha:{}", alpha);
    case TreeLoss::poisson:
        return "poisson";
    case TreeLoss::binary:
        return "binary sigmoid:1";
    case TreeLoss::multiclass:
        return fmt::format("multiclass num_class:{}", classes);
    }
    return {};
}

std::vector<double> initial_scores(const TreeObjective& objective, std::span<const float> targets) {
    if (targets.empty()) {
        throw std::invalid_argument{"no row to train on"};
    }
    const auto wrong = std::ranges::find_if_not(targets, [&](float target) { return may_be(objective, target); });
    if (wrong != targets.end()) {
        throw std::invalid_argument{
            fmt::format("target {} of row {} is none for {}", *wrong, wrong - targets.begin(), objective.text())};
    }
    double count = 0.0;
    double sum = 0.0;
    for (const float target : targets) {
        count += objective.weight_of(target);
        sum += objective.weight_of(target) * target;
    }
    const double mean = sum / count;
    switch (objective.loss) {
    case TreeLoss::l2:
        return {mean};
    case TreeLoss::l1:
    case TreeLoss::quantile:
        return {quantile_of({targets.begin(), targets.end()}, objective.quantile())};
    case TreeLoss::poisson:
        return {std::log(std::max(mean, probability_min))};
    case TreeLoss::binary: {
        const double positive = std::clamp(mean, probability_min, 1.0 - probability_min);
        return {std::log(positive / (1.0 - positive))};
    }
    case TreeLoss::multiclass:
        break;
    }
    std::vector<double> scores(static_cast<std::size_t>(objective.classes));
    for (const float target : targets) {
        scores[static_cast<std::size_t>(target)] += objective.weight_of(target);
    }
    for (double& score : scores) {
        score = std::log(std::max(score / count, probability_min));
    }
    return scores;
}

namespace {

void derive_unweighted(const TreeObjective& objective,
                       std::span<const float> targets,
                       std::span<const double> scores,
                       std::span<float> gradients,
                       std::span<float> hessians) {
    if (objective.loss == TreeLoss::multiclass) {
        derive_multiclass(objective.classes, targets, scores, gradients, hessians);
        return;
    }
    for (std::size_t row = 0; row < targets.size(); ++row) {
        const double target = targets[row];
        const double score = scores[row];
        double gradient = 0.0;
        double hessian = 1.0;
        switch (objective.loss) {
        case TreeLoss::l2:
            gradient = score - target;
            break;
        case TreeLoss::l1:
            gradient = score > target ? 1.0 : (score < target ? -1.0 : 0.0);
            break;
        case TreeLoss::quantile:
            gradient = score >= target ? 1.0 - objective.alpha : -objective.alpha;
            break;
        case TreeLoss::poisson:
            gradient = std::exp(score) - target;
            hessian = std::exp(score + poisson_step);
            break;
        case TreeLoss::binary: {
            const double share = 1.0 / (1.0 + std::exp(-score));
            gradient = share - target;
            hessian = share * (1.0 - share);
            break;
        }
        case TreeLoss::multiclass:
            break;
        }
        gradients[row] = static_cast<float>(gradient);
        hessians[row] = static_cast<float>(hessian);
    }
}

} // namespace

void derive(const TreeObjective& objective,
            std::span<const float> targets,
            std::span<const double> scores,
            std::span<float> gradients,
            std::span<float> hessians) {
    derive_unweighted(objective, targets, scores, gradients, hessians);
    if (objective.class_weights.empty()) {
        return;
    }
    for (std::size_t at = 0; at < gradients.size(); ++at) {
        const auto weight = static_cast<float>(objective.weight_of(targets[at % targets.size()]));
        gradients[at] *= weight;
        hessians[at] *= weight;
    }
}

void round_for_exact_sums(std::span<float> values, double largest, std::int64_t count) {
    if (largest == 0.0) {
        return;
    }
    // No sum reaches 2^exponent; the 53 bits of a float64 below that are the multiples.
    const int exponent = std::ilogb(largest * static_cast<double>(count)) + 1;
    const double step = std::ldexp(1.0, exponent - 53);
    const double steps_of_one = std::ldexp(1.0, 53 - exponent);
    for (float& value : values) {
        value = static_cast<float>(std::nearbyint(static_cast<double>(value) * steps_of_one) * step);
    }
}

void transform(const TreeObjective& objective, std::span<double> scores) {
    switch (objective.loss) {
    case TreeLoss::poisson:
        scores[0] = std::exp(scores[0]);
        break;
    case TreeLoss::binary:
        scores[0] = 1.0 / (1.0 + std::exp(-scores[0]));
        break;
    case TreeLoss::multiclass:
        softmax(scores);
        break;
    case TreeLoss::l2:
    case TreeLoss::l1:
    case TreeLoss::quantile:
        break;
    }
}

} // namespace muster::worker
