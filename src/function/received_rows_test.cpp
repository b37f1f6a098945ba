#include "base/file.h"
#include "function/received_rows.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

namespace muster::function {
namespace {

class ReceivedRowsFolder : public testing::Test {
protected:
    static std::filesystem::path new_folder() {
        std::string pattern = (std::filesystem::temp_directory_path() / "muster-rows-XXXXXX").string();
        return ::mkdtemp(pattern.data());
    }
    ~ReceivedRowsFolder() override { std::filesystem::remove_all(folder); }

    static std::int64_t length_of(const LandingFile& file) {
        struct stat facts {};
        return ::fstat(file.fd, &facts) == 0 ? facts.st_size : -1;
    }

    const std::filesystem::path folder = new_folder();
    const MatrixInfo info{.rows = 10, .test_rows = 2, .columns = 3, .digest = "a"};
    ReceivedRows rows{folder / "arrivals", 1'000};
};

TEST_F(ReceivedRowsFolder, are_kept_for_the_same_data_and_for_no_other) {
    const auto first = rows.files_for(info).value();
    ASSERT_EQ(first.size(), 4U);
    EXPECT_EQ(first[3].name, "test.target");
    ASSERT_EQ(::pwrite(first[0].fd, "abcd", 4, 0), 4);
    EXPECT_EQ(length_of(rows.files_for(info)->front()), 4);
    MatrixInfo other = info;
    other.digest = "b";
    EXPECT_EQ(length_of(rows.files_for(other)->front()), 0);
    EXPECT_TRUE(std::filesystem::is_empty(folder / "arrivals")) << "they have no names";
}

TEST_F(ReceivedRowsFolder, are_deleted_at_the_end_or_when_nobody_came_back_for_them) {
    const SteadyTime now{};
    for (const bool in_time : {true, false}) {
        const auto files = rows.files_for(info).value();
        ASSERT_EQ(::pwrite(files[0].fd, "abcd", 4, 0), 4);
        rows.keep(now + std::chrono::seconds{10});
        rows.drop_when_due(now + std::chrono::seconds{in_time ? 9 : 10});
        EXPECT_EQ(length_of(rows.files_for(info)->front()), in_time ? 4 : 0);
    }
    rows.drop();
    EXPECT_EQ(length_of(rows.files_for(info)->front()), 0);
    rows.drop_when_due(SteadyTime::max() - std::chrono::seconds{1});
    EXPECT_EQ(length_of(rows.files_for(info)->front()), 0);
}

TEST_F(ReceivedRowsFolder, are_refused_where_they_are_too_many) {
    ReceivedRows few{folder, 191};
    const auto refused = few.files_for(info);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::resource_exhausted);
    EXPECT_EQ(refused.error().message,
              "the rows have 192 bytes, 191 are taken from other functions at most (policy.received_mb_max)");
    EXPECT_TRUE(ReceivedRows(folder, 192).files_for(info));
}

} // namespace
} // namespace muster::function
