#include "base/unnamed_file.h"
#include "shipping/landing.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <limits>

namespace muster::shipping {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span{text});
}

std::string joined(const std::vector<std::string>& digests) {
    std::string all;
    for (const auto& digest : digests) {
        all += digest + "\n";
    }
    return sha256_hex(all);
}

class LandingFolder : public testing::Test {
protected:
    LandingFolder() {
        std::string pattern = (std::filesystem::temp_directory_path() / "muster-landing-XXXXXX").string();
        folder = ::mkdtemp(pattern.data());
    }
    ~LandingFolder() override { std::filesystem::remove_all(folder); }

    Landing landing(const std::vector<std::int64_t>& sizes, const std::string& digest) const {
        std::vector<LandingPart> parts;
        for (const auto size : sizes) {
            parts.push_back({"part" + std::to_string(parts.size()), size, open_unnamed(folder, size).value()});
        }
        return Landing::over(std::move(parts), digest, joined).value();
    }
    /// Of another process that has the same files.
    static Landing landing_over(const Landing& other, const std::string& digest) {
        std::vector<LandingPart> parts;
        for (const LandingPart& part : other.parts()) {
            parts.push_back({part.name, part.bytes, UniqueFd{::fcntl(part.file.get(), F_DUPFD_CLOEXEC, 0)}});
        }
        return Landing::over(std::move(parts), digest, joined).value();
    }
    static std::string content(const LandingPart& part) {
        std::string text(static_cast<std::size_t>(part.bytes), '\0');
        EXPECT_EQ(::pread(part.file.get(), text.data(), text.size(), 0), part.bytes);
        return text;
    }

    std::filesystem::path folder;
};

TEST_F(LandingFolder, cuts_what_arrives_into_its_parts) {
    auto arrived = landing({3, 0, 5}, joined({sha256_hex("abc"), sha256_hex(""), sha256_hex("defgh")}));
    for (const std::string_view text : {"ab", "cde", "f", "gh"}) {
        ASSERT_TRUE(arrived.append(bytes_of(text)));
    }
    EXPECT_EQ(arrived.arrived(), 8);
    EXPECT_FALSE(arrived.verified());
    const auto verdict = arrived.verify();
    ASSERT_TRUE(verdict) << verdict.error().text();
    EXPECT_TRUE(arrived.verified());
    EXPECT_TRUE(arrived.verify()) << "again";
    EXPECT_EQ(content(arrived.parts()[0]), "abc");
    EXPECT_EQ(content(arrived.parts()[2]), "defgh");
}

TEST_F(LandingFolder, begins_again_when_the_digest_is_another) {
    auto arrived = landing({3}, joined({sha256_hex("abc")}));
    ASSERT_TRUE(arrived.append(bytes_of("abd")));
    const auto verdict = arrived.verify();
    ASSERT_FALSE(verdict);
    EXPECT_EQ(verdict.error().code, ErrorCode::conflict);
    EXPECT_NE(verdict.error().message.find(joined({sha256_hex("abd")})), std::string::npos) << verdict.error().message;
    EXPECT_EQ(arrived.arrived(), 0);
    ASSERT_TRUE(arrived.append(bytes_of("abc")));
    EXPECT_TRUE(arrived.verify());
}

TEST_F(LandingFolder, goes_on_behind_what_another_process_left) {
    const std::string digest = joined({sha256_hex("abc"), sha256_hex("defgh")});
    auto first = landing({3, 5}, digest);
    ASSERT_TRUE(first.append(bytes_of("abcd")));
    auto second = landing_over(first, digest);
    EXPECT_EQ(second.arrived(), 4);
    ASSERT_TRUE(second.append(bytes_of("efgh")));
    EXPECT_TRUE(second.verify());
    auto third = landing_over(second, digest);
    EXPECT_EQ(third.arrived(), 8);
    EXPECT_TRUE(third.verify());
}

TEST_F(LandingFolder, empties_files_that_are_no_beginning) {
    const auto digest = joined({sha256_hex("abc"), sha256_hex("defgh")});
    for (const std::vector<std::string>& left : {std::vector<std::string>{"ab", "d"}, {"abcd", ""}}) {
        auto before = landing({3, 5}, digest);
        for (std::size_t i = 0; i < left.size(); ++i) {
            const auto written = ::pwrite(before.parts()[i].file.get(), left[i].data(), left[i].size(), 0);
            ASSERT_EQ(written, std::ssize(left[i]));
        }
        auto after = landing_over(before, digest);
        EXPECT_EQ(after.arrived(), 0);
        ASSERT_TRUE(after.append(bytes_of("abcdefgh")));
        EXPECT_TRUE(after.verify());
    }
}

TEST_F(LandingFolder, counts_nothing_of_a_block_that_cannot_be_written) {
    std::vector<LandingPart> parts;
    parts.push_back({"train.features", 4, UniqueFd{::open("/dev/full", O_WRONLY | O_CLOEXEC)}});
    auto arrived = Landing::over(std::move(parts), joined({sha256_hex("abcd")}), joined).value();
    const auto written = arrived.append(bytes_of("ab"));
    ASSERT_FALSE(written);
    EXPECT_EQ(written.error().code, ErrorCode::resource_exhausted);
    EXPECT_NE(written.error().message.find("train.features"), std::string::npos) << written.error().message;
    EXPECT_EQ(arrived.arrived(), 0);
}

TEST(Landing, refuses_sizes_that_cannot_be) {
    constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
    for (const auto& [first, second] : {std::pair{std::int64_t{-1}, std::int64_t{1}}, std::pair{most, most}}) {
        std::vector<LandingPart> parts;
        parts.push_back({"a", first, {}});
        parts.push_back({"b", second, {}});
        EXPECT_FALSE(Landing::over(std::move(parts), "", joined));
    }
}

} // namespace
} // namespace muster::shipping
