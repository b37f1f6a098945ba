#include "worker/boosted_trees.h"

#include "base/digest.h"
#include "worker/leaf_quantiles.h"
#include "worker/lightgbm_api.h"
#include "worker/split_mix.h"
#include "worker/tree_bins.h"
#include "worker/tree_model.h"
#include "worker/tree_network.h"
#include "worker/tree_settings.h"
#include "worker/tree_shares.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <stdexcept>
#include <utility>

namespace muster::worker {
namespace {

struct BoosterDeleter {
    void operator()(void* booster) const { lightgbm::LGBM_BoosterFree(booster); }
};

std::vector<float> targets_of(const TreeData& data, std::span<const std::int64_t> rows) {
    std::vector<float> targets;
    targets.reserve(rows.size());
    for (const std::int64_t row : rows) {
        targets.push_back(data.target[static_cast<std::size_t>(row)]);
    }
    return targets;
}

/// LightGBM knows its text of a model whose gradients were given to it as one without objective, and adds what it was
/// told on this member: the objective is written in, and that taken off.
std::string with_objective(std::string text, const TreeObjective& objective) {
    const std::size_t names = text.find("\nfeature_names=");
    if (names == std::string::npos) {
        throw std::runtime_error{"LightGBM's model text has no feature_names"};
    }
    text.insert(names, "\nobjective=" + objective.text());
    const std::size_t parameters = text.find("\nparameters:", text.find("\nend of trees"));
    return parameters == std::string::npos ? text : text.substr(0, parameters);
}

} // namespace

class BoostedTrees::Learner {
public:
    Learner(const TreeData& data,
            const TreeObjective& objective,
            const TreeParameters& parameters,
            collective::Group* group)
        : data_{data}, objective_{objective}, parameters_{parameters}, group_{group != nullptr && group->size() > 1
                                                                                  ? group
                                                                                  : nullptr} {
        check_training(data, objective, parameters);
        initial_ = initial_scores(objective, targets_of(data, data.training_rows));
        const std::string common = tree_settings(data, objective, parameters);
        const std::string settings = fmt::format("{} num_threads={}", common, parameters.threads);
        take_lightgbm_log();
        const std::string bins = make_bins(data, settings, parameters.seed);
        require_agreement(group_, facts(common, bins));
        own_rows_ = settle_rows(group_, data);
        data_.own_rows = own_rows_;
        targets_ = targets_of(data_, own_rows_);
        dataset_ = bin_own_rows(data_, bins, objective.outputs(), settings);
        const std::size_t count = targets_.size() * outputs();
        scores_.resize(count);
        base_.resize(count);
        gradients_.resize(count);
        hessians_.resize(count);
        TreeNetwork network{group_};
        void* booster = nullptr;
        network.check(
            lightgbm::LGBM_BoosterCreate(dataset_.get(),
                                         fmt::format("{} {} pre_partition=true num_machines={}",
                                                     settings,
                                                     group_ == nullptr ? "tree_learner=serial" : "tree_learner=data",
                                                     group_ == nullptr ? 1 : group_->size())
                                             .c_str(),
                                         &booster));
        booster_.reset(booster);
        begin_with(data.start);
    }

    bool grow() {
        if (failed_) {
            throw std::logic_error{"a training of trees goes on after it failed"};
        }
        if (finished_ || iterations_ >= parameters_.trees) {
            return false;
        }
        failed_ = true; // Unless the end is reached.
        choose_rows();
        derive_rounded();
        TreeNetwork network{group_};
        int finished = 0;
        network.check(
            lightgbm::LGBM_BoosterUpdateOneIterCustom(booster_.get(), gradients_.data(), hessians_.data(), &finished));
        finished_ = finished != 0;
        const bool made = !finished_ || iterations_ == 0; // The first may have one leaf, and stays.
        if (made) {
            take_newest(network);
            ++iterations_;
        }
        failed_ = false;
        return made;
    }

    [[nodiscard]] int iterations() const { return iterations_; }

    void
    add(const std::vector<DecisionTree>& trees, std::span<const std::int64_t> rows, std::span<double> scores) const {
        require_training(scores.size() == rows.size() * outputs(), "there are not as many scores as rows");
        for (std::size_t i = 0; i < rows.size(); ++i) {
            require_training(rows[i] >= 0 && static_cast<std::size_t>(rows[i]) < data_.target.size(),
                             "a row does not exist");
            const float* row = data_.features.data() + rows[i] * data_.columns;
            for (std::size_t tree = 0; tree < trees.size(); ++tree) {
                scores[i * outputs() + tree % outputs()] += trees[tree].value(trees[tree].leaf_of(row));
            }
        }
    }
    [[nodiscard]] const std::vector<DecisionTree>& trees() const { return trees_; }
    [[nodiscard]] std::vector<DecisionTree> newest() const {
        const auto count = static_cast<std::ptrdiff_t>(std::min(trees_.size(), outputs()));
        return {trees_.end() - count, trees_.end()};
    }
    [[nodiscard]] std::size_t outputs() const { return static_cast<std::size_t>(objective_.outputs()); }
    [[nodiscard]] const std::string& digest() const { return digest_; }
    [[nodiscard]] std::int64_t histogram_bytes() const {
        constexpr std::int64_t bytes_of_bin = 16; // sums of gradients and of hessians
        std::int64_t all = 0;
        for (std::int64_t column = 0; column < data_.columns; ++column) {
            int bins = 0;
            check_lightgbm(lightgbm::LGBM_DatasetGetFeatureNumBin(dataset_.get(), static_cast<int>(column), &bins));
            all += bins;
        }
        return bytes_of_bin * all * parameters_.leaves * objective_.outputs();
    }

    [[nodiscard]] std::string text(int first, int count) const {
        std::int64_t size = 0;
        const auto save = [&](std::string& text) {
            check_lightgbm(lightgbm::LGBM_BoosterSaveModelToString(booster_.get(),
                                                                   first,
                                                                   count,
                                                                   lightgbm::importance_split,
                                                                   static_cast<std::int64_t>(text.size()),
                                                                   &size,
                                                                   text.data()));
        };
        std::string text(std::size_t{1} << 16U, '\0');
        save(text);
        if (size > static_cast<std::int64_t>(text.size())) {
            text.resize(static_cast<std::size_t>(size));
            save(text);
        }
        text.resize(static_cast<std::size_t>(size - 1)); // Without the zero at its end.
        return with_objective(std::move(text), objective_);
    }

private:
    /// Takes over the trees that come first; else every row begins with the initial score.
    void begin_with(const std::string& start) {
        if (start.empty()) {
            for (std::size_t output = 0; output < outputs(); ++output) {
                std::fill_n(base_.begin() + static_cast<std::ptrdiff_t>(output * targets_.size()),
                            targets_.size(),
                            initial_[output]);
            }
            scores_ = base_;
            return;
        }
        auto model = TreeModel::parse(start);
        require_training(model.ok(), model ? "" : "the trees that come first: " + model.error().text());
        require_training(model->columns() == data_.columns && model->objective().text() == objective_.text(),
                         "the trees that come first are of other columns or another loss");
        int iterations = 0;
        void* first = nullptr;
        check_lightgbm(lightgbm::LGBM_BoosterLoadModelFromString(start.c_str(), &iterations, &first));
        const std::unique_ptr<void, BoosterDeleter> owned{first};
        check_lightgbm(lightgbm::LGBM_BoosterMerge(booster_.get(), first));
        trees_ = model->trees();
        iterations_ = model->iterations();
        std::vector<double> by_row(base_.size());
        add(trees_, own_rows_, by_row);
        for (std::size_t row = 0; row < targets_.size(); ++row) {
            for (std::size_t output = 0; output < outputs(); ++output) {
                base_[output * targets_.size() + row] = by_row[row * outputs() + output];
            }
        }
        scores_ = base_;
        digest_ = sha256_hex(start);
    }

    /// What all members must have the same of.
    [[nodiscard]] std::string facts(const std::string& settings, const std::string& bins) const {
        return fmt::format("{}|{}|{:a}|{}|{}|{}|{:a}|{}|{}|",
                           settings,
                           objective_.text(),
                           fmt::join(objective_.class_weights, ","),
                           data_.start.empty() ? std::string{} : sha256_hex(data_.start),
                           parameters_.trees,
                           parameters_.row_sampling,
                           fmt::join(initial_, ","),
                           parameters_.seed,
                           data_.training_rows.size()) +
               bins;
    }

    /// Which of the own rows the next trees see: a matter of the row, not of who has it.
    void choose_rows() {
        chosen_.assign(targets_.size(), true);
        if (parameters_.row_sampling >= 1.0) {
            return;
        }
        const auto iteration = static_cast<std::uint64_t>(iterations_);
        const std::uint64_t key = SplitMix{parameters_.seed + 0x9E37U * (iteration + 1)}.next();
        const double bound = std::ldexp(parameters_.row_sampling, 53);
        for (std::size_t i = 0; i < chosen_.size(); ++i) {
            const auto row = static_cast<std::uint64_t>(own_rows_[i]);
            chosen_[i] = static_cast<double>(SplitMix{key ^ row}.next() >> 11U) < bound;
        }
    }

    void derive_rounded() {
        derive(objective_, targets_, scores_, gradients_, hessians_);
        for (std::size_t at = 0; at < gradients_.size(); ++at) {
            if (!chosen_[at % targets_.size()]) {
                gradients_[at] = hessians_[at] = 0.0F;
            }
        }
        const auto largest_of = [](std::span<const float> values) {
            double largest = 0.0;
            for (const float value : values) { // What is no number must not be passed over.
                largest = std::isfinite(value) ? std::max(largest, std::abs(static_cast<double>(value)))
                                               : std::numeric_limits<double>::infinity();
                if (std::isinf(largest)) {
                    break;
                }
            }
            return largest;
        };
        std::array<double, 2> largest{largest_of(gradients_), largest_of(hessians_)};
        if (group_ != nullptr) {
            group_->all_reduce(
                std::as_writable_bytes(std::span{largest}), collective::ElementType::f64, collective::ReduceOp::max);
        }
        if (std::isinf(largest[0]) || std::isinf(largest[1])) {
            throw std::runtime_error{"boosted trees: a gradient is not finite; a smaller learning rate may help"};
        }
        const auto all = static_cast<std::int64_t>(data_.training_rows.size());
        round_for_exact_sums(gradients_, largest[0], all);
        round_for_exact_sums(hessians_, largest[1], all);
    }

    /// Reads what LightGBM made, and makes of it what it is to be: renewed leaves, initial scores within the first.
    void take_newest(TreeNetwork& network) {
        auto model = TreeModel::parse(text(iterations_, 1));
        if (!model) {
            throw std::runtime_error{"boosted trees: " + model.error().text()};
        }
        std::vector<DecisionTree> trees = model->trees();
        if (objective_.renews_leaves()) {
            renew(trees.front());
        } else {
            std::int64_t count = 0;
            network.check(lightgbm::LGBM_BoosterGetPredict(booster_.get(), 0, &count, scores_.data()));
            std::ranges::transform(scores_, base_, scores_.begin(), std::plus{});
        }
        for (std::size_t output = 0; output < trees.size(); ++output) {
            DecisionTree& tree = trees[output];
            for (int leaf = 0; leaf < tree.leaves(); ++leaf) {
                if (iterations_ == 0) {
                    tree.set_value(leaf, tree.value(leaf) + initial_[output]);
                }
                const int number = iterations_ * objective_.outputs() + static_cast<int>(output);
                network.check(lightgbm::LGBM_BoosterSetLeafValue(booster_.get(), number, leaf, tree.value(leaf)));
            }
            trees_.push_back(std::move(tree));
        }
        const std::string made = text(iterations_, 1);
        digest_ = sha256_hex(digest_ + made.substr(made.find("\nTree=")));
    }

    void renew(DecisionTree& tree) {
        std::vector<double> residuals(targets_.size());
        std::vector<int> leaves(targets_.size());
        for (std::size_t row = 0; row < targets_.size(); ++row) {
            residuals[row] = static_cast<double>(targets_[row]) - scores_[row];
            leaves[row] = tree.leaf_of(data_.features.data() + own_rows_[row] * data_.columns);
        }
        if (tree.leaves() > 1) {
            std::vector<int> counted = leaves;
            for (std::size_t row = 0; row < counted.size(); ++row) {
                counted[row] = chosen_[row] ? counted[row] : -1;
            }
            const auto quantiles = leaf_quantiles(group_, residuals, counted, tree.leaves(), objective_.quantile());
            for (int leaf = 0; leaf < tree.leaves(); ++leaf) {
                tree.set_value(leaf, parameters_.learning_rate * quantiles[static_cast<std::size_t>(leaf)]);
            }
        }
        for (std::size_t row = 0; row < leaves.size(); ++row) {
            scores_[row] += tree.value(leaves[row]);
        }
    }

    TreeData data_;
    TreeObjective objective_;
    TreeParameters parameters_;
    collective::Group* group_; ///< null: alone
    std::vector<std::int64_t> own_rows_{};
    std::vector<double> initial_{};  ///< [outputs]
    std::vector<float> targets_{};   ///< [own rows]
    std::vector<bool> chosen_{};     ///< [own rows]
    std::vector<double> base_{};     ///< [outputs, own rows]: of the initial scores, or of the trees that come first
    std::vector<double> scores_{};   ///< [outputs, own rows], of all trees
    std::vector<float> gradients_{}; ///< [outputs, own rows]
    std::vector<float> hessians_{};
    TreeDataset dataset_{}; // Outlives the booster.
    std::unique_ptr<void, BoosterDeleter> booster_{};
    std::vector<DecisionTree> trees_{};
    std::string digest_{};
    int iterations_{};
    bool finished_{};
    bool failed_{};
};

BoostedTrees::BoostedTrees(const TreeData& data,
                           const TreeObjective& objective,
                           const TreeParameters& parameters,
                           collective::Group* group)
    : learner_{std::make_unique<Learner>(data, objective, parameters, group)} {}

BoostedTrees::~BoostedTrees() = default;

bool BoostedTrees::grow() {
    return learner_->grow();
}

int BoostedTrees::iterations() const {
    return learner_->iterations();
}

std::vector<double> BoostedTrees::predict_raw(std::span<const std::int64_t> rows) const {
    std::vector<double> scores(rows.size() * learner_->outputs());
    learner_->add(learner_->trees(), rows, scores);
    return scores;
}

void BoostedTrees::add_newest(std::span<const std::int64_t> rows, std::span<double> scores) const {
    learner_->add(learner_->newest(), rows, scores);
}

std::string BoostedTrees::text(int iterations) const {
    require_training(iterations >= 1 && iterations <= learner_->iterations(),
                     fmt::format("{} of {} iterations", iterations, learner_->iterations()));
    return learner_->text(0, iterations);
}

std::int64_t BoostedTrees::histogram_bytes() const {
    return learner_->histogram_bytes();
}

std::string BoostedTrees::digest() const {
    return learner_->digest();
}

} // namespace muster::worker
