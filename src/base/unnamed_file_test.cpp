#include "base/unnamed_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

namespace muster {
namespace {

class UnnamedFile : public testing::Test {
protected:
    UnnamedFile() {
        std::string pattern = (std::filesystem::temp_directory_path() / "muster-unnamed-XXXXXX").string();
        folder = ::mkdtemp(pattern.data());
    }
    ~UnnamedFile() override { std::filesystem::remove_all(folder); }

    std::filesystem::path folder;
};

TEST_F(UnnamedFile, is_in_no_folder) {
    const auto file = open_unnamed(folder, 100).value();
    EXPECT_TRUE(std::filesystem::is_empty(folder));
    struct stat facts {};
    ASSERT_EQ(::fstat(file.get(), &facts), 0);
    EXPECT_EQ(facts.st_nlink, 0U);
    EXPECT_EQ(facts.st_size, 0);
    EXPECT_GE(facts.st_blocks * 512, 100) << "what is reserved";
}

TEST_F(UnnamedFile, that_has_no_room_is_refused_before_its_first_byte) {
    const auto file = open_unnamed(folder, std::int64_t{1} << 60U);
    ASSERT_FALSE(file);
    EXPECT_EQ(file.error().code, ErrorCode::resource_exhausted) << file.error().text();
    EXPECT_NE(file.error().message.find(folder.string()), std::string::npos) << file.error().message;
    const auto nowhere = open_unnamed(folder / "nowhere", 1);
    ASSERT_FALSE(nowhere);
    EXPECT_EQ(nowhere.error().code, ErrorCode::unavailable);
}

} // namespace
} // namespace muster
