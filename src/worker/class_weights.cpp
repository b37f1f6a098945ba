#include "worker/class_weights.h"

#include <algorithm>
#include <cstddef>

namespace muster::worker {
namespace {

std::vector<double> balanced_weights(std::size_t classes, std::span<const float> targets) {
    std::vector<double> weights(classes);
    for (const float target : targets) {
        weights[static_cast<std::size_t>(target)] += 1.0;
    }
    const auto occur = static_cast<double>(classes - static_cast<std::size_t>(std::ranges::count(weights, 0.0)));
    for (double& weight : weights) {
        weight = weight > 0.0 ? static_cast<double>(targets.size()) / (occur * weight) : 1.0;
    }
    return weights;
}

} // namespace

Result<void> check_class_weights(const Recipe& recipe, const Preprocessing& preprocessing) {
    const std::vector<std::string>& classes = preprocessing.target.categories;
    for (const auto& [name, weight] : recipe.class_weights.value_or(RecipeClassWeights{}).weights) {
        if (std::ranges::find(classes, name) == classes.end()) {
            Error error = not_allowed("/class_weights", name, classes);
            error.message += ": no class of the target \"" + preprocessing.target.name + "\"";
            return error;
        }
    }
    return {};
}

std::vector<double>
class_weights_of(const Recipe& recipe, const Preprocessing& preprocessing, std::span<const float> targets) {
    if (!recipe.class_weights) {
        return {};
    }
    const std::vector<std::string>& classes = preprocessing.target.categories;
    if (recipe.class_weights->balanced) {
        return balanced_weights(classes.size(), targets);
    }
    std::vector<double> weights(classes.size(), 1.0);
    for (const auto& [name, weight] : recipe.class_weights->weights) {
        weights.at(static_cast<std::size_t>(std::ranges::find(classes, name) - classes.begin())) = weight;
    }
    return weights;
}

} // namespace muster::worker
