#include "collective/tuning.h"

#include <gtest/gtest.h>

namespace muster::collective {
namespace {

const Tuning table{{.ranks_max = 2, .direct_bytes_max = 100, .doubling_bytes_max = 100},
                   {.ranks_max = 8, .direct_bytes_max = 10, .doubling_bytes_max = 1000}};

TEST(Tuning, chooses_by_ranks_and_size) {
    EXPECT_EQ(path_for(table, 2, 100), Path::direct);
    EXPECT_EQ(path_for(table, 2, 101), Path::ring);
    EXPECT_EQ(path_for(table, 3, 10), Path::direct);
    EXPECT_EQ(path_for(table, 8, 11), Path::doubling);
    EXPECT_EQ(path_for(table, 8, 1001), Path::ring);
    EXPECT_EQ(path_for(table, 100, 1000), Path::doubling) << "the last row is for all larger groups";
}

TEST(Tuning, sends_a_barrier_of_many_ranks_along_doubling_distances) {
    EXPECT_EQ(path_for(table, 4, 0), Path::direct);
    EXPECT_EQ(path_for(table, 8, 0), Path::doubling);
    EXPECT_EQ(path_for(measured_tuning(), 7, 0), Path::doubling);
}

TEST(Tuning, has_the_ring_for_everything_above_a_size) {
    for (const int ranks : {2, 4, 7, 64}) {
        EXPECT_NE(path_for(ring_above(64), ranks, 64), Path::ring);
        EXPECT_EQ(path_for(ring_above(64), ranks, 65), Path::ring);
    }
}

TEST(Tuning, differs_in_its_hash) {
    EXPECT_EQ(hash_of(ring_above(64)), hash_of(ring_above(64)));
    EXPECT_NE(hash_of(ring_above(64)), hash_of(ring_above(65)));
}

} // namespace
} // namespace muster::collective
