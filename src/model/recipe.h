/// A recipe: how to train what a request asks for. The standard says what, the recipe says how.
#pragma once

#include "base/result.h"
#include "model/score.h"

#include <cstdint>
#include <string>
#include <vector>

namespace muster {

enum class Loss { l1, mse, cross_entropy, binary_cross_entropy };
enum class OptimizerKind { adamw, sgd };
enum class NumberType { fp32, fp64 };

/// Which rows and columns are used.
struct RecipeData {
    std::string source;                     ///< name in the functions' catalogues
    std::string test{};                     ///< name of the test source; empty: none
    std::string target;                     ///< column to predict
    std::vector<std::string> exclude{};     ///< columns that are not inputs
    std::vector<std::string> categorical{}; ///< numeric-looking columns to treat as categories
    double validation{0.1};                 ///< part of the rows kept for validation, 0 to 0.9
};

/// The model family and its shape.
struct RecipeModel {
    std::string family{"mlp"};
    std::vector<std::int64_t> hidden{256, 256}; ///< units of each hidden layer; empty: the linear model
};

struct RecipeOptimizer {
    OptimizerKind kind{OptimizerKind::adamw};
    double learning_rate{1e-3};
    double weight_decay{0.0};
    double momentum{0.0};            ///< sgd only
    bool decay_learning_rate{false}; ///< cosine to zero over all steps (`schedule: cosine`)
};

/// A recipe as its owner wrote it. Immutable; its digest names it.
struct Recipe {
    std::string name;
    std::string inference; ///< the aIMLInferenceName that selects it; "muster:<name>" always does
    RecipeData data;
    RecipeModel model{};
    Loss loss{Loss::l1};
    RecipeOptimizer optimizer{};
    std::int64_t batch{1024}; ///< global batch, rows per step over all functions
    std::int64_t epochs{1};
    std::vector<std::string> metrics{};
    std::uint64_t seed{1};
    NumberType number_type{NumberType::fp32};
    bool stop_when_met{false}; ///< stop after an epoch whose validation meets performanceRequirements
    std::string digest{};      ///< SHA-256 of the canonical JSON (wire/recipe.h), hex
};

/// Returns what kind of target the recipe's loss trains.
[[nodiscard]] TaskKind task_of(const Recipe& recipe);
/// Checks what the field table of wire/recipe.h cannot: that values fit together (a classification
/// loss with regression metrics, a batch of zero, ...). Errors: invalid_argument with a JSON pointer.
[[nodiscard]] Result<void> check(const Recipe& recipe);

} // namespace muster
