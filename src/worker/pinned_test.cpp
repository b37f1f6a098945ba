#include "worker/pinned_rows.h"
#include "worker/testing_matrix.h"
#include "worker/testing_ranks.h"
#include "worker/trainer.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

namespace muster::worker {
namespace {

/// Rows `begin` to `end` of a matrix.
void copy_rows(const Matrix& matrix, std::int64_t begin, std::int64_t end, Rows& rows, std::vector<float>& target) {
    for (std::int64_t row = begin; row < end; ++row) {
        rows.emplace_back(matrix.row(row), matrix.row(row) + matrix.columns);
        target.push_back(matrix.target_of(row));
    }
}

/// A problem whose rows are owned by sites, one part after the other.
class Sites {
public:
    Sites(const TestingProblem& whole, const std::vector<std::int64_t>& training, const std::vector<std::int64_t>& test)
        : folders_(training.size()) {
        std::int64_t train_begin = 0;
        std::int64_t test_begin = 0;
        for (std::size_t site = 0; site < training.size(); ++site) {
            Rows rows;
            Rows test_rows;
            std::vector<float> target;
            std::vector<float> test_target;
            copy_rows(whole.matrices.train, train_begin, train_begin + training[site], rows, target);
            copy_rows(whole.matrices.test, test_begin, test_begin + test[site], test_rows, test_target);
            train_begin += training[site];
            test_begin += test[site];
            auto opened =
                open_matrices(folders_[site].path(), folders_[site].write(rows, target, test_rows, test_target));
            matrices_.push_back(std::move(opened).value());
        }
    }

    /// Trains with these rows of a batch at each site.
    [[nodiscard]] std::vector<Trained> train_at_all(const TestingProblem& problem,
                                                    const std::vector<std::int64_t>& shares,
                                                    const Preprocessing* other_at_last = nullptr) const {
        std::vector<Trained> results(shares.size());
        run_ranks(static_cast<int>(shares.size()), [&](Group group) {
            prepare_thread(1);
            const auto rank = static_cast<std::size_t>(group->getRank());
            const bool last = rank + 1 == shares.size();
            const Preprocessing& how = last && other_at_last != nullptr ? *other_at_last : problem.preprocessing;
            auto program = ModelProgram::build(problem.recipe, how);
            TrainingOrder order{.group = std::move(group), .batch_rows = shares, .layout = DataLayout::pinned};
            results[rank].done = train(*program, problem.recipe, how, matrices_[rank], order);
            for (const at::Tensor& parameter : program->parameters()) {
                results[rank].parameters.push_back(parameter.detach().clone());
            }
        });
        return results;
    }

private:
    std::vector<TestingFolder> folders_;
    std::vector<MatrixSet> matrices_;
};

TEST(PinnedRows, are_each_in_one_batch_and_evenly_in_all) {
    const std::vector<std::int64_t> owned{700, 40, 263};
    const PinnedRows rows{owned, 100};
    EXPECT_EQ(rows.total(), 1003);
    EXPECT_EQ(rows.batches(), 11);
    for (std::size_t rank = 0; rank < owned.size(); ++rank) {
        std::int64_t end = 0;
        for (std::int64_t index = 0; index < rows.batches(); ++index) {
            const Interval piece = rows.piece(rank, index);
            EXPECT_EQ(piece.begin, end);
            EXPECT_GE(piece.size(), owned[rank] / 11);
            EXPECT_LE(piece.size(), rows.piece_rows_max(rank));
            end = piece.end;
        }
        EXPECT_EQ(end, owned[rank]);
    }
    EXPECT_EQ(rows.batch_rows(0), rows.piece(0, 0).size() + rows.piece(1, 0).size() + rows.piece(2, 0).size());
    EXPECT_EQ(rows.place(2, 0), rows.piece(0, 0).size() + rows.piece(1, 0).size());
    EXPECT_TRUE(rows.check(std::vector<std::int64_t>{70, 4, 26}).ok());
    EXPECT_FALSE(rows.check(std::vector<std::int64_t>{50, 25, 25}).ok()) << "by speed, say";
    EXPECT_FALSE((PinnedRows{{990, 10}, 10}.check(std::vector<std::int64_t>{10, 0}).ok())) << "10 rows, 100 batches";
}

TEST(Pinned, rows_in_one_batch_give_the_model_of_their_union) {
    TestingProblem problem;
    problem.recipe.number_type = NumberType::fp64;
    problem.recipe.data.validation = 0.0;
    problem.recipe.optimizer = {.kind = OptimizerKind::adamw, .learning_rate = 1e-2};
    problem.recipe.batch = 1000;
    const auto alone = train_with(problem, {1000});
    const Sites sites{problem, {640, 60, 300}, {0, 50, 200}};
    const auto together = sites.train_at_all(problem, {640, 60, 300});
    for (const Trained& rank : together) {
        ASSERT_TRUE(rank.done->ok()) << rank.done->error().text();
        EXPECT_EQ((*rank.done)->steps, 4);
        EXPECT_LT(relative_difference(rank.parameters, alone[0].parameters), 1e-6);
        EXPECT_EQ((*rank.done)->parameters_digest, (*together[0].done)->parameters_digest);
    }
    EXPECT_EQ((*together[1].done)->rows, 240);
    for (const char* set : {"training", "test"}) {
        for (const char* metric : {"MAE", "MSE", "RMSE", "R2", "MAPE"}) {
            EXPECT_NEAR(
                score(**together[0].done, "trained", set, metric), score(**alone[0].done, "trained", set, metric), 1e-6)
                << set << " " << metric;
        }
        EXPECT_GT(score(**together[0].done, "naive", set, "MAE"), 0.0);
        EXPECT_EQ(score(**together[0].done, "linear", set, "MAE"), -1.0) << "its equations would tell rows";
    }
    EXPECT_TRUE((*together[1].done)->evaluations.empty());
}

TEST(Pinned, rows_teach_about_as_much_as_their_union) {
    TestingProblem problem{2000};
    problem.recipe.epochs = 20;
    problem.recipe.optimizer.learning_rate = 5e-3;
    const auto alone = train_with(problem, {64});
    const Sites sites{problem, {1500, 500}, {400, 100}};
    const auto together = sites.train_at_all(problem, {48, 16});
    ASSERT_TRUE(together[0].done->ok()) << together[0].done->error().text();
    for (const char* set : {"training", "validation", "test"}) {
        const double error = score(**together[0].done, "trained", set, "MAE");
        EXPECT_LT(error, 1.25 * score(**alone[0].done, "trained", set, "MAE")) << set;
        EXPECT_LT(error, 0.5 * score(**together[0].done, "naive", set, "MAE")) << set;
    }
}

TEST(Pinned, rows_of_classes_are_scored_by_sums_over_all_sites) {
    TestingProblem problem{1000, 5, 3};
    problem.recipe.number_type = NumberType::fp64;
    problem.recipe.data.validation = 0.0;
    problem.recipe.batch = 1000;
    problem.recipe.early_stopping = {};
    const auto alone = train_with(problem, {1000});
    const Sites sites{problem, {700, 300}, {150, 100}};
    const auto together = sites.train_at_all(problem, {700, 300});
    ASSERT_TRUE(together[0].done->ok()) << together[0].done->error().text();
    for (const char* metric : {"accuracy", "balanced_accuracy", "precision", "recall", "F1", "log_loss"}) {
        EXPECT_NEAR(score(**together[0].done, "trained", "test", metric),
                    score(**alone[0].done, "trained", "test", metric),
                    1e-9)
            << metric;
    }
    EXPECT_EQ(score(**together[0].done, "trained", "test", "AUC"), -1.0) << "takes the order of all rows";
    EXPECT_GT(score(**together[0].done, "naive", "test", "accuracy"), 0.0);
    EXPECT_EQ((*together[0].done)->evaluations.front().confusion, (*alone[0].done)->evaluations.front().confusion);
    EXPECT_EQ((*together[0].done)->evaluations.front().classes[1].rows,
              (*alone[0].done)->evaluations.front().classes[1].rows);
}

TEST(Pinned, rows_encoded_otherwise_or_shared_by_speed_are_refused_at_all) {
    const TestingProblem problem;
    const Sites sites{problem, {700, 300}, {0, 0}};
    Preprocessing other = problem.preprocessing;
    other.inputs[0].mean = 1.0;
    for (const Trained& rank : sites.train_at_all(problem, {45, 19}, &other)) {
        ASSERT_FALSE(rank.done->ok());
        EXPECT_EQ(rank.done->error().code, ErrorCode::conflict);
    }
    for (const Trained& rank : sites.train_at_all(problem, {32, 32})) {
        ASSERT_FALSE(rank.done->ok());
        EXPECT_NE(rank.done->error().text().find("owns"), std::string::npos);
    }
}

} // namespace
} // namespace muster::worker
