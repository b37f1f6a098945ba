#include "data/folder_fixture.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>

#include <fstream>

namespace muster::data {
namespace {

class CacheTest : public FolderTest {
protected:
    /// Encodes rows that no other number gives.
    Result<Published> matrix(int number) const {
        return encode("a,y\n" + std::to_string(number) + ",1\n2,2\n", recipe());
    }
    /// Makes the matrix look as if it was last used so many minutes ago.
    static void age(const Published& matrix, int minutes) {
        std::filesystem::last_write_time(matrix.folder,
                                         std::filesystem::file_time_type::clock::now() - std::chrono::minutes{minutes});
    }
    static std::int64_t bytes_of(const Published& matrix) {
        std::int64_t bytes = 0;
        for (const auto& file : std::filesystem::directory_iterator{matrix.folder}) {
            bytes += static_cast<std::int64_t>(file.file_size());
        }
        return bytes;
    }
    static bool there(const Published& matrix) { return std::filesystem::exists(matrix.folder); }
};

TEST_F(CacheTest, removes_the_longest_unused_when_it_is_full) {
    const auto first = matrix(10);
    const auto second = matrix(11);
    const auto third = matrix(12);
    ASSERT_TRUE(first && second && third);
    settings_.cache_bytes_max = bytes_of(*first) * 3 + 8; // a few digits more or less in matrix.json
    age(*first, 30);
    age(*second, 20);
    age(*third, 10);
    ASSERT_TRUE(matrix(10)) << "found, and used";
    const auto fourth = matrix(13);
    ASSERT_TRUE(fourth) << fourth.error().text();
    EXPECT_TRUE(there(*first));
    EXPECT_FALSE(there(*second));
    EXPECT_TRUE(there(*third));
    EXPECT_TRUE(there(*fourth));
    for (const auto& entry : std::filesystem::directory_iterator{folder_ / "cache"}) {
        EXPECT_FALSE(entry.path().filename().string().starts_with(".new")) << "nothing is left aside";
    }
}

TEST_F(CacheTest, keeps_what_is_in_use_and_the_newest_however_small_it_is) {
    const auto used = matrix(10);
    const auto unused = matrix(11);
    ASSERT_TRUE(used && unused);
    age(*used, 30);
    UniqueFd reader{::open((used->folder / "matrix.json").c_str(), O_RDONLY | O_CLOEXEC)};
    ASSERT_EQ(::flock(reader.get(), LOCK_SH | LOCK_NB), 0);
    settings_.cache_bytes_max = 0;
    const auto newest = matrix(12);
    ASSERT_TRUE(newest) << newest.error().text();
    EXPECT_TRUE(there(*used));
    EXPECT_FALSE(there(*unused));
    EXPECT_TRUE(there(*newest));
    reader.reset();
    ASSERT_TRUE(matrix(13));
    EXPECT_FALSE(there(*used));
}

TEST_F(CacheTest, waits_for_another_writer_no_longer_than_it_may) {
    const auto cache = Cache::open(folder_ / "cache");
    ASSERT_TRUE(cache);
    const auto other = cache->lock(Deadline::after(std::chrono::seconds{5}));
    ASSERT_TRUE(other);
    settings_.lock_wait_seconds = 0;
    const auto made = matrix(10);
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, ErrorCode::deadline_exceeded);
}

} // namespace
} // namespace muster::data
