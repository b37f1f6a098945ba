#include "worker/trainer.h"

#include "base/digest.h"
#include "model/state_shares.h"
#include "wire/preprocessing.h"
#include "worker/baselines.h"
#include "worker/class_weights.h"
#include "worker/data_parallel.h"
#include "worker/early_stopping.h"
#include "worker/evaluation.h"
#include "worker/order_check.h"
#include "worker/pinned_baselines.h"
#include "worker/pinned_parallel.h"
#include "worker/pipeline.h"
#include "worker/ranks.h"
#include "worker/used_rows.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <numeric>
#include <optional>

namespace muster::worker {
namespace {

/// Who cuts a batch: the members by their shares; of a model in stages its replicas, whose first members have them.
std::vector<std::int64_t> shares_of(const TrainingOrder& order) {
    std::vector<std::int64_t> shares = order.batch_rows;
    for (std::size_t rank = 0; rank < order.stages.size(); ++rank) {
        if (order.stages[rank].first_block != 0) {
            shares[rank] = 0;
        }
    }
    return shares;
}

/// Pinned rows: how many of each kind there are over all members.
struct PinnedCounts {
    std::vector<std::int64_t> training; ///< by rank
    std::int64_t validation{};
    std::int64_t test{};
};

PinnedCounts count_pinned(Ranks& ranks, const UsedRows& used) {
    const auto members = static_cast<std::int64_t>(ranks.size());
    at::Tensor counts = at::zeros({members + 2}, at::kLong);
    counts[static_cast<std::int64_t>(ranks.rank())] = std::ssize(used.split.training);
    counts[members] = std::ssize(used.split.validation);
    counts[members + 1] = std::ssize(used.test);
    ranks.sum(counts);
    const auto* all = counts.const_data_ptr<std::int64_t>();
    return {{all, all + members}, all[members], all[members + 1]};
}

/// A training under way.
class Training {
public:
    Training(ModelProgram& program,
             const Recipe& recipe,
             const Preprocessing& preprocessing,
             const MatrixSet& matrices,
             const TrainingOrder& order)
        : program_{program}, recipe_{recipe}, preprocessing_{preprocessing}, matrices_{matrices}, order_{order},
          ranks_{order.group, shares_of(order)}, used_{used_rows(recipe, matrices, ranks_, !order.stages.empty())},
          training_rows_{std::ssize(used_.split.training)} {
        if (order.layout == DataLayout::pinned) {
            counts_ = count_pinned(ranks_, used_);
            pinned_.emplace(counts_.training, ranks_.batch());
            training_rows_ = pinned_->total();
        }
        steps_ = recipe.epochs * batches_per_epoch(training_rows_, ranks_.batch());
    }

    Result<Done> run() {
        if (!ranks_.agree(fingerprint())) {
            return Error{ErrorCode::conflict, "the members do not train on the same data with the same plan"};
        }
        if (auto checked = pinned_ ? pinned_->check(ranks_.shares()) : Result<void>{}; !checked) {
            return std::move(checked).error();
        }
        const auto engine = make_engine();
        Evaluator evaluator{*engine, program_, recipe_, preprocessing_, ranks_, pinned_.has_value()};
        if (recipe_.early_stopping && validates()) {
            stopping_.emplace(recipe_, program_, ranks_, order_.best_weights);
        }
        for (std::int64_t epoch = 0; epoch < recipe_.epochs && !done_.stopped_early; ++epoch) {
            if (auto trained = run_epoch(*engine, epoch); !trained) {
                return std::move(trained).error();
            }
            finish_epoch(evaluator, epoch);
        }
        if (stopping_) {
            done_.best_epoch = stopping_->go_back();
        }
        return finish(*engine, evaluator);
    }

private:
    std::unique_ptr<Engine> make_engine() {
        if (!order_.stages.empty()) {
            return std::make_unique<Pipeline>(
                program_, recipe_, preprocessing_, ranks_, order_.stages, order_.micro_rows, steps_);
        }
        ranks_.copy_from_first(program_.parameters());
        if (pinned_) {
            return std::make_unique<PinnedParallel>(program_, recipe_, preprocessing_, ranks_, *pinned_, steps_);
        }
        const std::vector<float> targets = targets_of(matrices_.train, used_.split.training);
        return std::make_unique<DataParallel>(program_,
                                              recipe_,
                                              preprocessing_,
                                              ranks_,
                                              steps_,
                                              state_shares(),
                                              class_weights_of(recipe_, preprocessing_, targets));
    }

    /// By rank the part of the optimizer's state; none: all at each. Devices round differently, so where there is one
    /// each part of the model is updated by one rank and copied to the others: the members end with one model.
    std::vector<double> state_shares() {
        if (ranks_.alone() || state_is_sharded(order_.state_shares)) {
            return ranks_.alone() ? std::vector<double>{} : order_.state_shares;
        }
        const at::Tensor somewhere = at::full({1}, program_.device().is_cpu() ? 0.0 : 1.0, at::kDouble);
        ranks_.largest(somewhere);
        const auto parts = static_cast<double>(ranks_.size());
        return somewhere.item<double>() > 0.0 ? std::vector<double>(ranks_.size(), 1.0 / parts) : std::vector<double>{};
    }

    /// What must be equal at all members; a mismatch would otherwise train a model of nothing.
    std::vector<std::int64_t> fingerprint() const {
        const auto number = [](const std::string& hex) {
            std::uint64_t value = 0;
            std::from_chars(hex.data(), hex.data() + std::min<std::size_t>(16, hex.size()), value, 16);
            return std::bit_cast<std::int64_t>(value);
        };
        Sha256 shares;
        shares.update(std::as_bytes(std::span{ranks_.shares()}));
        shares.update(std::as_bytes(std::span{order_.state_shares}));
        for (const ModelStage& stage : order_.stages) {
            shares.update(std::as_bytes(std::span{&stage.first_block, 1}));
            shares.update(std::as_bytes(std::span{&stage.blocks, 1}));
        }
        const Preprocessing& how = preprocessing_; // of pinned rows it is all that members have in common
        return {pinned_ ? pinned_->total() : matrices_.train.rows,
                pinned_ ? number(sha256_hex(wire::to_json(how).dump())) : matrices_.test.rows,
                matrices_.train.columns,
                order_.stages.empty() ? program_.parameter_count() : order_.micro_rows,
                steps_,
                static_cast<std::int64_t>(recipe_.number_type),
                std::bit_cast<std::int64_t>(recipe_.seed),
                number(recipe_.digest),
                number(shares.finish_hex())};
    }

    Result<void> run_epoch(Engine& engine, std::int64_t epoch) {
        order_of_epoch_ = used_.split.training;
        if (recipe_.data.text && matrices_.train.held) {
            const std::int64_t shift =
                shift_of_epoch(used_.split, matrices_.train.rows, recipe_.data.text->sequence, recipe_.seed, epoch);
            std::ranges::for_each(order_of_epoch_, [shift](std::int64_t& first) { first += shift; });
        }
        shuffle_for_epoch(order_of_epoch_, pinned_ ? seed_of_member(recipe_.seed, ranks_.rank()) : recipe_.seed, epoch);
        const std::int64_t batches = batches_per_epoch(training_rows_, ranks_.batch());
        for (std::int64_t index = 0; index < batches; ++index) {
            const Interval whole =
                pinned_ ? pinned_->piece(ranks_.rank(), index) : global_batch(training_rows_, ranks_.batch(), index);
            const std::span<const std::int64_t> rows = std::span{order_of_epoch_}.subspan(
                static_cast<std::size_t>(whole.begin), static_cast<std::size_t>(whole.size()));
            const StepOutcome outcome = engine.step(matrices_.train, rows, order_.stop.stop_requested());
            const std::int64_t number = done_.steps + 1;
            if (outcome.stop) {
                return Error{ErrorCode::unavailable, "stopped at step " + std::to_string(number)};
            }
            if (!outcome.finite) {
                return Error{ErrorCode::invalid_argument, "loss is not a number at step " + std::to_string(number)};
            }
            done_.steps = number;
            done_.rows += engine.own_part(whole).size();
            done_.compute_seconds += outcome.compute_seconds;
            loss_ = outcome.loss;
            const SteadyTime now = std::chrono::steady_clock::now();
            if (number == 1) {
                done_.first_step_seconds = seconds_between(order_.started, now);
                first_end_ = now;
                first_rows_ = done_.rows;
            }
            if (now - reported_ >= order_.progress_interval) {
                report(epoch, now);
            }
        }
        return {};
    }

    void finish_epoch(Evaluator& evaluator, std::int64_t epoch) {
        if (validates()) {
            const SteadyTime begin = std::chrono::steady_clock::now();
            const double waited = ranks_.wait_seconds();
            validation_ = evaluator.scores(matrices_.train, used_.split.validation);
            done_.compute_seconds +=
                seconds_between(begin, std::chrono::steady_clock::now()) - (ranks_.wait_seconds() - waited);
            const bool met = enough();
            if (met) {
                stopping_.reset(); // this epoch's model is what was asked for
            }
            const bool no_better = stopping_ && stopping_->enough_after(epoch, validation_);
            done_.stopped_early = epoch + 1 < recipe_.epochs && (met || no_better);
        }
        report(epoch, std::chrono::steady_clock::now());
    }

    [[nodiscard]] bool validates() const { return pinned_ ? counts_.validation > 0 : !used_.split.validation.empty(); }
    [[nodiscard]] bool tests() const { return pinned_ ? counts_.test > 0 : matrices_.test.rows > 0; }

    /// Whether the validation scores are what was asked for. The first member says so to all: some may not know them.
    bool enough() {
        if (!recipe_.stop_when_met || order_.requirements.empty()) {
            return false;
        }
        at::Tensor met = at::zeros({1}, at::kDouble);
        met.fill_(ranks_.rank() == 0 && meets(validation_, order_.requirements) ? 1.0 : 0.0);
        ranks_.sum(met);
        return met.item<double>() > 0.0;
    }

    void report(std::int64_t epoch, SteadyTime now) {
        reported_ = now;
        if (!order_.progress) {
            return;
        }
        Progress progress;
        progress.step = done_.steps;
        progress.steps = steps_;
        progress.epoch = epoch;
        progress.loss = loss_;
        progress.rows_per_second = rate(now);
        progress.compute_seconds = done_.compute_seconds;
        progress.wait_seconds = ranks_.wait_seconds();
        progress.bytes_sent = order_.bytes_sent ? order_.bytes_sent() : 0;
        if (ranks_.rank() == 0) {
            progress.validation = validation_;
        }
        order_.progress(progress);
    }

    /// Own rows a second. From the second step on the first one does not count: it also starts everything up.
    double rate(SteadyTime now) const {
        const bool several = done_.steps > 1;
        const double seconds = seconds_between(several ? first_end_ : order_.started, now);
        return seconds > 0.0 ? static_cast<double>(done_.rows - (several ? first_rows_ : 0)) / seconds : 0.0;
    }

    /// Rows to be scored for the report. A sample of the training rows is fixed by the seed, not by the shares.
    std::vector<RowSet> row_sets() const {
        std::vector<std::int64_t> sample = used_.split.training;
        auto most = static_cast<std::size_t>(scored_rows_max(recipe_));
        if (pinned_ && static_cast<std::size_t>(training_rows_) > most) { // each member's part of the sample
            most = most * sample.size() / static_cast<std::size_t>(training_rows_);
        }
        if (sample.size() > most) {
            shuffle_for_epoch(sample, recipe_.seed, 0);
            sample.resize(most);
        }
        std::vector<RowSet> sets{{"training", &matrices_.train, std::move(sample)}};
        if (validates()) {
            sets.push_back({"validation", &matrices_.train, used_.split.validation});
        }
        if (tests()) {
            sets.push_back({"test", &matrices_.test, used_.test});
        }
        return sets;
    }

    Done finish(Engine& engine, Evaluator& evaluator) {
        const std::vector<RowSet> sets = row_sets();
        std::vector<EvaluationResult> results;
        for (const RowSet& set : sets) {
            results.push_back(evaluator.evaluate("trained", set));
        }
        done_.parameters_digest = engine.parameters_digest();
        done_.state_bytes = engine.state_bytes();
        std::vector<EvaluationResult> others;
        if (pinned_) {
            others = pinned_baselines(
                recipe_, preprocessing_, matrices_.train, used_.split.training, sets, sum_over_of(ranks_));
        }
        // Rank 0 goes on alone: nothing after this line is collective.
        if (ranks_.rank() == 0) {
            if (!pinned_) {
                others = baselines(recipe_, preprocessing_, matrices_.train, used_.split.training, sets);
            }
            results.insert(results.end(), others.begin(), others.end());
            done_.evaluations = std::move(results);
            done_.preprocessing = preprocessing_;
        }
        done_.wait_seconds = ranks_.wait_seconds();
        done_.bytes_sent = order_.bytes_sent ? order_.bytes_sent() : 0;
        done_.seconds = seconds_between(order_.started, std::chrono::steady_clock::now());
        return std::move(done_);
    }

    ModelProgram& program_;
    const Recipe& recipe_;
    const Preprocessing& preprocessing_;
    const MatrixSet& matrices_;
    const TrainingOrder& order_;
    Ranks ranks_;
    UsedRows used_;
    PinnedCounts counts_;              ///< of pinned rows
    std::optional<PinnedRows> pinned_; ///< the layout
    std::int64_t training_rows_;
    std::int64_t steps_{};
    std::vector<std::int64_t> order_of_epoch_;
    std::vector<Score> validation_;
    std::optional<EarlyStopping> stopping_;
    SteadyTime reported_{std::chrono::steady_clock::now()};
    SteadyTime first_end_{}; ///< of the first step
    std::int64_t first_rows_{};
    double loss_{};
    Done done_;
};

} // namespace

Result<Done> train(ModelProgram& program,
                   const Recipe& recipe,
                   const Preprocessing& preprocessing,
                   const MatrixSet& matrices,
                   const TrainingOrder& order) {
    if (auto checked = check_order(order); !checked) {
        return std::move(checked).error();
    }
    if (auto checked = check_rows(recipe, matrices.train, order); !checked) {
        return std::move(checked).error();
    }
    return Training{program, recipe, preprocessing, matrices, order}.run();
}

} // namespace muster::worker
