#include "worker/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <random>

namespace muster::worker {
namespace {

TEST(Sampler, keeps_the_last_rows_when_validation_is_at_the_end) {
    const RowSplit split = split_end(10, 0.25);
    EXPECT_EQ(split.training, (std::vector<std::int64_t>{0, 1, 2, 3, 4, 5, 6, 7}));
    EXPECT_EQ(split.validation, (std::vector<std::int64_t>{8, 9}));
    EXPECT_EQ(split_end(2, 0.1).validation, (std::vector<std::int64_t>{1}));
    EXPECT_TRUE(split_end(10, 0.0).validation.empty());
}

TEST(Sampler, puts_each_row_in_exactly_one_part_of_the_split) {
    for (const std::int64_t rows : {0, 1, 2, 7, 1000}) {
        for (const double validation : {0.0, 0.1, 0.9}) {
            const RowSplit split = split_rows(rows, validation, 3);
            std::vector<std::int64_t> all = split.training;
            all.insert(all.end(), split.validation.begin(), split.validation.end());
            std::ranges::sort(all);
            ASSERT_EQ(std::ssize(all), rows);
            for (std::int64_t row = 0; row < rows; ++row) {
                ASSERT_EQ(all[static_cast<std::size_t>(row)], row);
            }
        }
    }
    EXPECT_EQ(split_rows(1000, 0.1, 3).validation.size(), 100U);
    EXPECT_EQ(split_rows(5, 0.1, 3).validation.size(), 1U);
    EXPECT_NE(split_rows(1000, 0.1, 3).validation, split_rows(1000, 0.1, 4).validation);
}

TEST(Sampler, keeps_the_newest_windows_of_each_series_for_validation) {
    constexpr float begins = -std::numeric_limits<float>::infinity();
    constexpr float none = std::numeric_limits<float>::quiet_NaN();
    const std::vector<float> targets{begins, none, 1, 2, 3, 4, none, begins, none, begins, 5, none, 6, 7};
    const RowSplit split = split_windows(targets, 2, 0.25);
    EXPECT_EQ(split.training, (std::vector<std::int64_t>{2, 3, 4, 10, 12}));
    EXPECT_EQ(split.validation, (std::vector<std::int64_t>{5, 13}));
    EXPECT_TRUE(split_windows(targets, 2, 0.0).validation.empty());
    EXPECT_EQ(split_windows(targets, 4, 0.0).training, (std::vector<std::int64_t>{3, 4, 5, 12, 13}))
        << "a target where no window can end counts for nothing";
    EXPECT_TRUE(split_windows({}, 2, 0.5).training.empty());
}

TEST(Sampler, gives_an_order_that_depends_on_seed_and_epoch_only) {
    std::vector<std::int64_t> first(100);
    std::iota(first.begin(), first.end(), 0);
    std::vector<std::int64_t> second = first;
    std::ranges::reverse(second); // what was before must not matter
    shuffle_for_epoch(first, 1, 5);
    shuffle_for_epoch(second, 1, 5);
    EXPECT_EQ(first, second);
    shuffle_for_epoch(second, 1, 6);
    EXPECT_NE(first, second);
    shuffle_for_epoch(second, 2, 5);
    EXPECT_NE(first, second);
    EXPECT_TRUE(std::ranges::is_permutation(first, second));
}

TEST(Sampler, shuffles_evenly) {
    // Each of 6 orders of 3 rows over 6000 epochs: 1000 +- 5 sigma.
    std::vector<int> seen(6);
    for (std::int64_t epoch = 0; epoch < 6000; ++epoch) {
        std::vector<std::int64_t> rows{0, 1, 2};
        shuffle_for_epoch(rows, 77, epoch);
        ++seen[static_cast<std::size_t>(rows[0] * 2 + (rows[1] > rows[2] ? 1 : 0))];
    }
    for (const int count : seen) {
        EXPECT_NEAR(count, 1000, 145);
    }
}

// Whatever the members and their shares: the parts of a batch are the batch, in order, without gap or overlap.
TEST(Sampler, cuts_every_batch_without_gap_for_random_shares) {
    std::mt19937_64 random{2026};
    const auto below = [&](std::int64_t bound) {
        return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(bound));
    };
    for (int round = 0; round < 500; ++round) {
        std::vector<std::int64_t> shares(static_cast<std::size_t>(1 + below(9)));
        std::ranges::generate(shares, [&] { return below(50); });
        shares.front() += 1;
        const std::int64_t batch = std::accumulate(shares.begin(), shares.end(), std::int64_t{0});
        const std::int64_t rows = 1 + below(2000);
        std::int64_t position = 0;
        for (std::int64_t index = 0; index < batches_per_epoch(rows, batch); ++index) {
            const Interval whole = global_batch(rows, batch, index);
            for (std::size_t rank = 0; rank < shares.size(); ++rank) {
                const Interval part = part_of(whole, shares, rank);
                ASSERT_EQ(part.begin, position);
                ASSERT_GE(part.size(), 0);
                ASSERT_LE(part.size(), shares[rank] + 1);
                if (whole.size() == batch) {
                    ASSERT_EQ(part.size(), shares[rank]);
                }
                position = part.end;
            }
            ASSERT_EQ(position, whole.end);
        }
        ASSERT_EQ(position, rows);
    }
}

} // namespace
} // namespace muster::worker
