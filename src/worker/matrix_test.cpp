#include "worker/matrix.h"
#include "worker/testing_matrix.h"

#include <gtest/gtest.h>

namespace muster::worker {
namespace {

TEST(Matrix, maps_rows_and_targets) {
    const TestingFolder folder;
    const MatrixInfo info = folder.write({{1, 2}, {3, 4}, {5, 6}}, {10, 20, 30}, {{7, 8}}, {40});
    const auto set = open_matrices(folder.path(), info);
    ASSERT_TRUE(set.ok()) << set.error().text();
    EXPECT_EQ(set->train.row(2)[1], 6.0F);
    EXPECT_EQ(set->train.target_of(1), 20.0F);
    EXPECT_EQ(set->test.rows, 1);
    EXPECT_EQ(set->test.row(0)[0], 7.0F);
}

TEST(Matrix, refuses_files_that_do_not_fit_their_description) {
    const TestingFolder folder;
    MatrixInfo info = folder.write({{1, 2}, {3, 4}}, {10, 20});
    info.rows = 3;
    EXPECT_EQ(open_matrices(folder.path(), info).error().where, "train.features");
    info.rows = 1;
    info.columns = 4;
    EXPECT_EQ(open_matrices(folder.path(), info).error().where, "train.target");
    info = {.rows = INT64_MAX, .columns = INT64_MAX};
    EXPECT_EQ(open_matrices(folder.path(), info).error().where, "matrix.json");
    info = {.rows = 2, .test_rows = 1, .columns = 2};
    EXPECT_EQ(open_matrices(folder.path(), info).error().code, ErrorCode::not_found);
}

} // namespace
} // namespace muster::worker
