/// A recipe: how to train what a request asks for. The standard says what, the recipe says how.
#pragma once

#include "base/result.h"
#include "model/history.h"
#include "model/score.h"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace muster {

/// `quantile` is the pinball loss, `poisson` the negative log-likelihood of counts.
enum class Loss { l1, mse, cross_entropy, binary_cross_entropy, quantile, poisson };
enum class OptimizerKind { adamw, sgd };

/// `bf16` is mixed precision: products of linear layers in bf16 with sums in fp32 while training, all else fp32.
enum class NumberType { fp32, fp64, bf16 };

/// What a text is cut into: bytes, or the characters (Unicode code points) of UTF-8.
enum class TextUnit { byte, character };

/// How a text is read by a language model. Units become tokens; a sample is a run of consecutive ones.
struct RecipeText {
    TextUnit unit{TextUnit::character};
    std::int64_t sequence{128}; ///< tokens of a sample, each of which predicts the next

    bool operator==(const RecipeText&) const = default;
};

/// How a table is read to forecast: a sample is a run of consecutive rows of one series, and what is predicted is the
/// target some steps after the newest of them. Nothing of a sample's inputs was unknown at its newest row.
struct RecipeWindows {
    std::int64_t length{24}; ///< rows of a window
    std::int64_t horizon{1}; ///< steps from the newest row of a window to the target
    std::string time{};      ///< column that orders rows and tells gaps; empty: rows are in order, without a gap
    std::string series{};    ///< column that says which series (a cell, say) a row is of; empty: all of one
    /// Which rows of a window are inputs, by their steps before the newest, ascending from 0; empty: all of them.
    std::vector<std::int64_t> lags{};

    bool operator==(const RecipeWindows&) const = default;
};

enum class CsvEncoding { utf8, latin1 };

/// How CSV sources are written; what is not said is guessed (base/csv_dialect.h).
struct RecipeCsv {
    std::optional<char> delimiter{}; ///< between cells: comma, semicolon, tab or bar
    std::optional<char> decimal{};   ///< of numbers: point or comma
    CsvEncoding encoding{CsvEncoding::utf8};
    std::optional<bool> header{}; ///< whether the first row has names; not said: it has, and may not look like data

    bool operator==(const RecipeCsv&) const = default;
};

/// An input that is kept within limits: one impossible value must not rule its scale.
struct RecipeClip {
    std::string column;
    double low{};
    double high{};

    bool operator==(const RecipeClip&) const = default;
};

/// Which rows of a table are kept for validation: some by chance, or the last ones. Of a text or a series it is always
/// the end.
enum class ValidationKind { random, end };

/// Which categories of a column get an input of their own. The rest share one, and so do those that training did not
/// see.
struct RecipeCategories {
    std::int64_t at_most{};   ///< the most frequent ones; 0: all, and none is shared
    std::int64_t min_rows{1}; ///< training rows that a category has at least

    bool operator==(const RecipeCategories&) const = default;
};

/// Where rows are during training (ARCHITECTURE.md, data layouts); `automatic` leaves it to the planner.
enum class LayoutKind { automatic, whole, pinned };

/// Which rows and columns are used, or which text.
struct RecipeData {
    std::string source;                     ///< name in the functions' catalogues
    std::string test{};                     ///< name of the test source; empty: none
    std::string target;                     ///< column to predict; of a text: next_byte or next_character
    std::optional<RecipeText> text{};       ///< the sources are text, not tables
    std::optional<RecipeWindows> windows{}; ///< the target is forecast from runs of rows
    std::optional<RecipeHistory> history{}; ///< inputs derived from earlier rows
    RecipeCsv csv{};                        ///< how tables are written
    std::vector<std::string> exclude{};     ///< columns that are not inputs
    std::vector<std::string> categorical{}; ///< numeric-looking columns to treat as categories
    std::vector<std::string> log{};         ///< inputs whose logarithm is taken; "delay_*" are all that begin so
    std::vector<RecipeClip> clip{};         ///< by column
    double validation{0.1};                 ///< part of the rows kept for validation, 0 to 0.9
    ValidationKind validation_rows{ValidationKind::random};
    std::optional<RecipeCategories> categories{}; ///< none: each that training sees has an input
    LayoutKind layout{LayoutKind::automatic};
};

/// A program of a user, which is the model: a TorchScript archive, and what people have to know of it without it.
struct ModelArchive {
    std::string sha256;    ///< of the file, hex; it is a blob of that name
    std::int64_t bytes{};  ///< of the file
    std::int64_t blocks{}; ///< layers of a chain that may be cut into stages; 0: it is none

    bool operator==(const ModelArchive&) const = default;
};

/// Boosted trees, and how they are grown (family gbdt).
struct RecipeTrees {
    std::int64_t trees{100}; ///< of each output, at most
    std::int64_t leaves{31}; ///< of a tree, at most
    double learning_rate{0.1};
    std::int64_t min_rows_in_leaf{20};
    std::int64_t bins{255};      ///< values that a column is told apart by, at most
    std::int64_t depth{0};       ///< of a tree, at most; 0: as the leaves allow
    double l2{0.0};              ///< penalty on the leaves' values
    double row_sampling{1.0};    ///< part of the rows that a tree sees
    double column_sampling{1.0}; ///< part of the columns that a tree sees

    bool operator==(const RecipeTrees&) const = default;
};

/// The model family and its shape.
struct RecipeModel {
    std::string family{"mlp"};
    std::optional<ModelArchive> archive{};      ///< torchscript
    std::vector<std::int64_t> hidden{256, 256}; ///< mlp: units of each hidden layer; empty: the linear model
    std::int64_t layers{4};  ///< transformer: blocks between embedding and head; gru: layers, one by default
    std::int64_t width{128}; ///< transformer: numbers that stand for a token; gru: hidden units, 64 by default
    std::int64_t heads{4};   ///< transformer: attention heads, a divisor of width
    double dropout{};        ///< part of the numbers between layers that training sets to 0
    std::optional<RecipeTrees> trees{}; ///< gbdt
};

/// Where the optimizer's state is kept when several functions train: all of it at each, or a part (ZeRO-1).
/// `automatic`: whole, unless it does not fit.
enum class StateKind { automatic, replicated, sharded };

struct RecipeOptimizer {
    OptimizerKind kind{OptimizerKind::adamw};
    double learning_rate{1e-3};
    double weight_decay{0.0};
    double momentum{0.0};            ///< sgd only
    bool decay_learning_rate{false}; ///< cosine to zero over all steps after the warm-up (`schedule: cosine`)
    std::int64_t warm_up{0};         ///< steps in which the learning rate rises to its value
    double clip_norm{0.0};           ///< the gradient's norm, over all parameters, is at most this; 0: any
    StateKind state{StateKind::automatic};
};

/// How several functions may train together; `automatic` leaves it to the planner.
enum class DistributionKind { automatic, one_function, data_parallel, pipeline };

struct RecipeDistribution {
    DistributionKind strategy{DistributionKind::automatic};
    std::int64_t micro_batches{8}; ///< pipeline: pieces of a batch that pass through the stages one after the other

    bool operator==(const RecipeDistribution&) const = default;
};

/// When a training that gets no better ends before its last epoch; the model is then that of the best epoch.
struct RecipeEarlyStopping {
    std::int64_t patience{3}; ///< epochs without a better score of the validation rows
    std::string metric{};     ///< empty: the recipe's first metric, else what its loss measures

    bool operator==(const RecipeEarlyStopping&) const = default;
};

/// How much a row counts in the loss, by its class.
struct RecipeClassWeights {
    bool balanced{}; ///< each class as much as every other, over all its training rows
    std::vector<std::pair<std::string, double>> weights{}; ///< by class; 1 for those not named

    bool operator==(const RecipeClassWeights&) const = default;
};

/// A recipe as its owner wrote it. Immutable; its digest names it.
struct Recipe {
    std::string name;
    std::string inference; ///< the aIMLInferenceName that selects it; "muster:<name>" always does
    RecipeData data;
    RecipeModel model{};
    Loss loss{Loss::l1};
    double quantile{0.5}; ///< which one the loss quantile trains, in (0, 1)
    std::optional<RecipeClassWeights> class_weights{};
    RecipeOptimizer optimizer{};
    std::int64_t batch{1024}; ///< global batch, rows per step over all functions
    std::int64_t epochs{1};
    std::vector<std::string> metrics{};
    std::vector<std::string> report_by{}; ///< inputs that are categories: scores also of the rows of each
    std::uint64_t seed{1};
    NumberType number_type{NumberType::fp32};
    RecipeDistribution distribution{};
    std::optional<RecipeEarlyStopping> early_stopping{};
    bool stop_when_met{false}; ///< stop after an epoch whose validation meets performanceRequirements
    std::string digest{};      ///< SHA-256 of the canonical JSON (wire/recipe.h), hex
};

/// Returns what kind of target the recipe's loss trains.
[[nodiscard]] TaskKind task_of(const Recipe& recipe);
/// Whether the model is boosted trees: steps are then trees, and a batch is all training rows.
[[nodiscard]] bool has_trees(const Recipe& recipe);
/// Returns the name of the metric that early stopping watches.
[[nodiscard]] std::string watched_metric(const Recipe& recipe);
/// Blocks of the recipe's model where it is a chain of them, which may be cut into stages; 0: it is none.
[[nodiscard]] std::int64_t block_count(const Recipe& recipe);
/// Rows of the matrix that are the inputs of a table's sample: 1, or the length of a window.
[[nodiscard]] std::int64_t window_rows(const Recipe& recipe);
/// Rows of a micro-batch of the recipe's pipeline.
[[nodiscard]] std::int64_t micro_rows_of(const Recipe& recipe);
/// Numbers that the optimizer keeps for each parameter from step to step.
[[nodiscard]] std::int64_t state_per_parameter(const RecipeOptimizer& optimizer);
/// What people call a block of a chain: "embedding", "block 3", "head"; of a user's "layer 3".
[[nodiscard]] std::string block_name(const Recipe& recipe, std::int64_t position);
/// Name of what a model that reads text predicts: "next_byte" or "next_character".
[[nodiscard]] const char* text_target(TextUnit unit);
/// Checks that the recipe can be trained where rows stay at the sites that own them, in layout "pinned".
/// Errors: invalid_argument with a JSON pointer.
[[nodiscard]] Result<void> check_pinned(const Recipe& recipe);
/// Checks what the field table of wire/recipe.h cannot: that values fit together (a classification
/// loss with regression metrics, a batch of zero, ...). Errors: invalid_argument with a JSON pointer.
[[nodiscard]] Result<void> check(const Recipe& recipe);

} // namespace muster
