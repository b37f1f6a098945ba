#include "shipping/pace.h"

#include <gtest/gtest.h>

namespace muster::shipping {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(TokenBucket, lets_everything_pass_without_a_rate) {
    const ManualClock clock;
    TokenBucket bucket{0, 0, clock};
    EXPECT_EQ(bucket.take(1'000'000'000'000), Duration::zero());
}

TEST(TokenBucket, gives_its_burst_at_once_and_the_rest_at_its_rate) {
    ManualClock clock;
    TokenBucket bucket{1'000, 500, clock};
    EXPECT_EQ(bucket.take(500), Duration::zero());
    EXPECT_EQ(bucket.take(250), milliseconds{250});
    EXPECT_EQ(bucket.take(250), milliseconds{500}) << "debts add up";
    clock.advance(milliseconds{500});
    EXPECT_EQ(bucket.take(100), milliseconds{100});
}

TEST(TokenBucket, keeps_no_more_than_its_burst_when_nothing_leaves) {
    ManualClock clock;
    TokenBucket bucket{1'000, 500, clock};
    clock.advance(seconds{3'600});
    EXPECT_EQ(bucket.take(1'500), seconds{1});
}

TEST(TokenBucket, pays_for_blocks_larger_than_itself) {
    ManualClock clock;
    TokenBucket bucket{100, 0, clock};
    Duration waited{};
    for (int i = 0; i < 10; ++i) {
        const Duration wait = bucket.take(1'000);
        clock.advance(wait);
        waited += wait;
    }
    EXPECT_GE(waited, seconds{100} - milliseconds{1});
    EXPECT_LE(waited, seconds{100} + milliseconds{1});
}

} // namespace
} // namespace muster::shipping
