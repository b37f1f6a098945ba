#include "worker/tree_training.h"

#include "base/digest.h"
#include "base/log.h"
#include "worker/baselines.h"
#include "worker/boosted_trees.h"
#include "worker/order_check.h"
#include "worker/ranks.h"
#include "worker/tree_model.h"
#include "worker/tree_problem.h"
#include "worker/tree_progress.h"
#include "worker/tree_scores.h"
#include "worker/used_rows.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <memory>
#include <optional>

namespace muster::worker {
namespace {

/// Which rows are which, by their numbers in the samples.
struct SampleRows {
    std::vector<std::int64_t> training;
    std::vector<std::int64_t> validation;
};

/// A training under way.
class TreeTraining {
public:
    TreeTraining(const Recipe& recipe,
                 const Preprocessing& preprocessing,
                 const MatrixSet& matrices,
                 const TrainingOrder& order,
                 collective::Group* group,
                 TreeProgress& progress)
        : recipe_{recipe}, preprocessing_{preprocessing}, matrices_{matrices}, order_{order}, group_{group},
          progress_{progress}, ranks_{order.group, order.batch_rows}, used_{used_rows(recipe, matrices, ranks_, false)},
          samples_{recipe, preprocessing, matrices.train, ends()}, rows_{numbers()} {}

    Result<TrainedTrees> run() {
        if (!ranks_.agree(fingerprint())) {
            return Error{ErrorCode::conflict, "the members do not train on the same data with the same plan"};
        }
        begin();
        bool more = true;
        while (more) {
            try {
                const auto grown = step();
                if (!grown) {
                    keep();
                    return grown.error();
                }
                more = *grown;
            } catch (...) {
                keep();
                throw;
            }
        }
        return finish();
    }

private:
    [[nodiscard]] std::vector<std::int64_t> ends() const {
        std::vector<std::int64_t> all = used_.split.training;
        all.insert(all.end(), used_.split.validation.begin(), used_.split.validation.end());
        return all;
    }

    [[nodiscard]] SampleRows numbers() const {
        SampleRows rows;
        const std::size_t training = used_.split.training.size();
        for (std::size_t i = 0; i < training + used_.split.validation.size(); ++i) {
            (i < training ? rows.training : rows.validation).push_back(samples_.number(i));
        }
        return rows;
    }

    [[nodiscard]] std::vector<float> targets(std::span<const std::int64_t> rows) const {
        std::vector<float> values;
        values.reserve(rows.size());
        for (const std::int64_t row : rows) {
            values.push_back(samples_.target()[static_cast<std::size_t>(row)]);
        }
        return values;
    }

    [[nodiscard]] std::vector<std::int64_t> fingerprint() const {
        std::uint64_t digest = 0;
        const std::string& hex = recipe_.digest;
        std::from_chars(hex.data(), hex.data() + std::min<std::size_t>(16, hex.size()), digest, 16);
        std::vector<std::int64_t> facts{matrices_.train.rows,
                                        matrices_.test.rows,
                                        matrices_.train.columns,
                                        std::bit_cast<std::int64_t>(recipe_.seed),
                                        std::bit_cast<std::int64_t>(digest)};
        facts.insert(facts.end(), ranks_.shares().begin(), ranks_.shares().end());
        return facts;
    }

    void begin() {
        const Interval own = ranks_.own_part({0, std::ssize(rows_.training)});
        own_rows_ = own.size();
        TreeData data{.features = samples_.features(),
                      .columns = samples_.columns(),
                      .target = samples_.target(),
                      .training_rows = rows_.training,
                      .own_rows = std::span{rows_.training}.subspan(static_cast<std::size_t>(own.begin),
                                                                    static_cast<std::size_t>(own.size())),
                      .categorical = category_columns(recipe_, preprocessing_),
                      .start = common_start(group_, progress_)};
        objective_ = tree_objective(recipe_, preprocessing_, targets(rows_.training));
        trees_ =
            std::make_unique<BoostedTrees>(data, objective_, tree_parameters(recipe_, at::get_num_threads()), group_);
        validation_target_ = targets(rows_.validation);
        validation_raw_.resize(rows_.validation.size() * static_cast<std::size_t>(objective_.outputs()));
        if (recipe_.early_stopping && !rows_.validation.empty()) {
            best_.emplace(recipe_);
        }
        if (!data.start.empty()) {
            take_over(data.start);
        }
        first_step_ = trees_->iterations();
    }

    /// What was known after each of the trees that were made before.
    void take_over(const std::string& start) {
        const TreeModel model = TreeModel::parse(start).value();
        log::info("boosted trees go on after those of an earlier generation trees={}", model.iterations());
        const auto outputs = static_cast<std::size_t>(objective_.outputs());
        for (int made = 0; made < model.iterations(); ++made) {
            for (std::size_t i = 0; i < rows_.validation.size(); ++i) {
                const float* row = samples_.features().data() + rows_.validation[i] * samples_.columns();
                for (std::size_t output = 0; output < outputs; ++output) {
                    const DecisionTree& tree = model.trees()[static_cast<std::size_t>(made) * outputs + output];
                    validation_raw_[i * outputs + output] += tree.value(tree.leaf_of(row));
                }
            }
            watch(made + 1);
        }
    }

    void watch(int iterations) {
        if (best_) {
            best_->take(iterations, validation_scores());
        }
    }

    [[nodiscard]] std::vector<Score> validation_scores() const {
        return scores_of_raw(objective_, recipe_, validation_raw_, validation_target_);
    }

    /// Makes one more tree. False, when there is none. Errors: unavailable, when some member was asked to stop.
    Result<bool> step() {
        const SteadyTime begin = std::chrono::steady_clock::now();
        const double waited = wait_seconds();
        // The first member knows what was asked for, anyone may have been asked to stop.
        at::Tensor flags = at::zeros({2}, at::kDouble);
        flags[0] = order_.stop.stop_requested() ? 1.0 : 0.0;
        flags[1] = ranks_.rank() == 0 && enough() ? 1.0 : 0.0;
        ranks_.sum(flags);
        if (flags[0].item<double>() > 0.0) {
            return Error{ErrorCode::unavailable, "stopped at step " + std::to_string(trees_->iterations() + 1)};
        }
        if (flags[1].item<double>() > 0.0) {
            done_.stopped_early = trees_->iterations() < recipe_.model.trees->trees;
            return false;
        }
        if (!trees_->grow()) {
            return false;
        }
        trees_->add_newest(rows_.validation, validation_raw_);
        watch(trees_->iterations());
        const SteadyTime now = std::chrono::steady_clock::now();
        done_.rows += own_rows_;
        done_.compute_seconds += seconds_between(begin, now) - (wait_seconds() - waited);
        if (trees_->iterations() == first_step_ + 1) {
            done_.first_step_seconds = seconds_between(order_.started, now);
        }
        if (now - reported_ >= order_.progress_interval) {
            report(now);
        }
        return true;
    }

    void keep() {
        if (trees_->iterations() > 0) {
            progress_ = {.iterations = trees_->iterations(), .text = trees_->text(trees_->iterations())};
        }
    }

    [[nodiscard]] bool enough() const {
        if (best_ && best_->enough()) {
            return true;
        }
        return recipe_.stop_when_met && !order_.requirements.empty() && trees_->iterations() > 0 &&
               meets(validation_scores(), order_.requirements);
    }

    /// Of all that this member waits for: what LightGBM sends goes past the ranks.
    [[nodiscard]] double wait_seconds() const { return group_ == nullptr ? 0.0 : group_->traffic().wait_seconds; }

    void report(SteadyTime now) {
        reported_ = now;
        if (!order_.progress) {
            return;
        }
        const double seconds = seconds_between(order_.started, now);
        Progress progress;
        progress.step = trees_->iterations();
        progress.steps = recipe_.model.trees->trees;
        progress.rows_per_second = seconds > 0.0 ? static_cast<double>(done_.rows) / seconds : 0.0;
        progress.compute_seconds = done_.compute_seconds;
        progress.wait_seconds = wait_seconds();
        progress.bytes_sent = order_.bytes_sent ? order_.bytes_sent() : 0;
        if (!rows_.validation.empty()) {
            const std::vector<Score> scores = validation_scores();
            const auto watched = std::ranges::find(scores, metric_of(watched_metric(recipe_))->name, &Score::metric);
            progress.loss = watched == scores.end() ? 0.0 : watched->value;
            if (ranks_.rank() == 0) {
                progress.validation = scores;
            }
        }
        order_.progress(progress);
    }

    /// Rows to be scored for the report, as of networks.
    [[nodiscard]] std::vector<RowSet> row_sets() const {
        std::vector<std::int64_t> sample = used_.split.training;
        const auto most = static_cast<std::size_t>(scored_rows_max(recipe_));
        if (sample.size() > most) {
            shuffle_for_epoch(sample, recipe_.seed, 0);
            sample.resize(most);
        }
        std::vector<RowSet> sets{{"training", &matrices_.train, std::move(sample)}};
        if (!used_.split.validation.empty()) {
            sets.push_back({"validation", &matrices_.train, used_.split.validation});
        }
        if (matrices_.test.rows > 0) {
            sets.push_back({"test", &matrices_.test, used_.test});
        }
        return sets;
    }

    TrainedTrees finish() {
        const int iterations = best_ ? best_->best() : trees_->iterations();
        TrainedTrees trained{.done = {}, .text = trees_->text(iterations)};
        done_.steps = trees_->iterations();
        done_.best_epoch = best_ ? iterations - 1 : -1;
        done_.parameters_digest = sha256_hex(trained.text);
        report(std::chrono::steady_clock::now());
        const auto model = TreeModel::parse(trained.text);
        if (!model) {
            throw std::runtime_error{"boosted trees: " + model.error().text()};
        }
        const std::vector<RowSet> sets = row_sets();
        for (const RowSet& set : sets) {
            done_.evaluations.push_back(evaluate_trees(*model, set, recipe_, preprocessing_, ranks_));
        }
        // Nothing after this line is collective.
        if (ranks_.rank() == 0) {
            auto others = baselines(recipe_, preprocessing_, matrices_.train, used_.split.training, sets);
            done_.evaluations.insert(done_.evaluations.end(), others.begin(), others.end());
            done_.preprocessing = preprocessing_;
        } else {
            done_.evaluations.clear();
        }
        done_.wait_seconds = wait_seconds();
        done_.bytes_sent = order_.bytes_sent ? order_.bytes_sent() : 0;
        done_.seconds = seconds_between(order_.started, std::chrono::steady_clock::now());
        trained.done = std::move(done_);
        return trained;
    }

    const Recipe& recipe_;
    const Preprocessing& preprocessing_;
    const MatrixSet& matrices_;
    const TrainingOrder& order_;
    collective::Group* group_;
    TreeProgress& progress_;
    Ranks ranks_;
    UsedRows used_;
    TreeSamples samples_;
    SampleRows rows_;
    std::int64_t own_rows_{};
    TreeObjective objective_;
    std::unique_ptr<BoostedTrees> trees_;
    std::vector<float> validation_target_;
    std::vector<double> validation_raw_; ///< [validation rows, outputs]
    std::optional<BestTrees> best_;
    int first_step_{};
    SteadyTime reported_{std::chrono::steady_clock::now()};
    Done done_;
};

} // namespace

Result<TrainedTrees> train_trees(const Recipe& recipe,
                                 const Preprocessing& preprocessing,
                                 const MatrixSet& matrices,
                                 const TrainingOrder& order,
                                 collective::Group* group,
                                 TreeProgress& progress) {
    if (auto checked = check_order(order); !checked) {
        return std::move(checked).error();
    }
    if (auto checked = check_rows(recipe, matrices.train, order); !checked) {
        return std::move(checked).error();
    }
    return TreeTraining{recipe, preprocessing, matrices, order, group, progress}.run();
}

} // namespace muster::worker
