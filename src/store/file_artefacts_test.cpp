#include "base/digest.h"
#include "base/file.h"
#include "store/file_artefacts.h"
#include "store/temporary_folder.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <csignal>
#include <string>
#include <thread>
#include <vector>

namespace muster::store {
namespace {

namespace fs = std::filesystem;

class FileArtefactsTest : public testing::Test {
protected:
    [[nodiscard]] std::unique_ptr<FileArtefacts> open(ArtefactSettings settings = {}) const {
        settings.folder = folder_.path() / "artefacts";
        return FileArtefacts::open(settings).value();
    }
    [[nodiscard]] fs::path file(const std::string& content) const {
        fs::path path = folder_.path() / "file";
        EXPECT_TRUE(replace_file(path, content));
        return path;
    }
    [[nodiscard]] std::size_t files() const {
        std::size_t count = 0;
        for (const auto& entry : fs::recursive_directory_iterator{folder_.path() / "artefacts"}) {
            count += entry.is_regular_file() ? 1U : 0U;
        }
        return count;
    }

    TemporaryFolder folder_;
    const std::string content_ = "a model, " + std::string(100'000, 'm');
    const std::string sha256_ = sha256_hex(content_);
};

TEST_F(FileArtefactsTest, adopts_a_file_under_its_digest) {
    const auto artefacts = open();
    EXPECT_EQ(artefacts->path_of(sha256_).error().code, ErrorCode::not_found);
    const fs::path path = file(content_);
    ASSERT_TRUE(artefacts->adopt(path, sha256_));
    EXPECT_FALSE(fs::exists(path));
    EXPECT_EQ(read_file(artefacts->path_of(sha256_).value()).value(), content_);
    EXPECT_TRUE(artefacts->adopt(file(content_), sha256_));
    artefacts->remove(sha256_);
    artefacts->remove(sha256_);
    EXPECT_EQ(files(), 0U);
}

TEST_F(FileArtefactsTest, refuses_a_file_with_another_digest_or_size) {
    const auto artefacts = open({.blob_bytes_max = 10});
    EXPECT_EQ(artefacts->adopt(file("short"), sha256_).error().code, ErrorCode::invalid_argument);
    EXPECT_EQ(artefacts->adopt(file(content_), sha256_).error().code, ErrorCode::resource_exhausted);
    EXPECT_EQ(artefacts->adopt(folder_.path() / "none", sha256_).error().code, ErrorCode::not_found);
    EXPECT_EQ(files(), 0U);
}

TEST_F(FileArtefactsTest, takes_an_upload_in_parts_over_a_restart) {
    auto artefacts = open();
    EXPECT_EQ(artefacts->partial_bytes(sha256_), 0);
    ASSERT_TRUE(artefacts->append(sha256_, 0, std::string_view{content_}.substr(0, 10)));
    ASSERT_TRUE(artefacts->append(sha256_, 10, std::string_view{content_}.substr(10, 50'000)));
    EXPECT_FALSE(artefacts->path_of(sha256_));
    artefacts = open();
    EXPECT_EQ(artefacts->partial_bytes(sha256_), 50'010);
    for (const std::int64_t wrong : {0, 50'009, 50'011, -1}) {
        EXPECT_EQ(artefacts->append(sha256_, wrong, "x").error().code, ErrorCode::conflict);
    }
    ASSERT_TRUE(artefacts->append(sha256_, 50'010, std::string_view{content_}.substr(50'010)));
    ASSERT_TRUE(artefacts->finish(sha256_));
    EXPECT_EQ(read_file(artefacts->path_of(sha256_).value()).value(), content_);
    EXPECT_EQ(artefacts->partial_bytes(sha256_), 0);
    EXPECT_TRUE(artefacts->finish(sha256_));
    EXPECT_EQ(artefacts->append(sha256_, 0, "x").error().code, ErrorCode::conflict);
    EXPECT_EQ(files(), 1U);
}

TEST_F(FileArtefactsTest, drops_an_upload_with_another_digest) {
    const auto artefacts = open();
    ASSERT_TRUE(artefacts->append(sha256_, 0, "something else"));
    EXPECT_EQ(artefacts->finish(sha256_).error().code, ErrorCode::invalid_argument);
    EXPECT_EQ(files(), 0U);
    EXPECT_EQ(artefacts->finish(sha256_).error().code, ErrorCode::not_found);
}

TEST_F(FileArtefactsTest, limits_size_and_number_of_uploads) {
    const auto artefacts = open({.blob_bytes_max = 100, .partial_uploads_max = 2});
    ASSERT_TRUE(artefacts->append(sha256_, 0, std::string(60, 'x')));
    EXPECT_EQ(artefacts->append(sha256_, 60, std::string(41, 'x')).error().code, ErrorCode::resource_exhausted);
    EXPECT_EQ(artefacts->partial_bytes(sha256_), 60);
    EXPECT_TRUE(artefacts->append(sha256_, 60, std::string(40, 'x')));
    EXPECT_TRUE(artefacts->append(sha256_hex("2"), 0, "2"));
    EXPECT_EQ(artefacts->append(sha256_hex("3"), 0, "3").error().code, ErrorCode::resource_exhausted);
}

TEST_F(FileArtefactsTest, accepts_no_name_but_a_digest) {
    const auto artefacts = open();
    const std::string upper = "A" + sha256_.substr(1);
    for (const std::string& name :
         {std::string{}, std::string{"../file"}, upper, sha256_ + "0", std::string(64, '/')}) {
        EXPECT_EQ(artefacts->adopt(file("x"), name).error().code, ErrorCode::invalid_argument) << name;
        EXPECT_EQ(artefacts->path_of(name).error().code, ErrorCode::invalid_argument) << name;
        EXPECT_EQ(artefacts->append(name, 0, "x").error().code, ErrorCode::invalid_argument) << name;
        EXPECT_EQ(artefacts->finish(name).error().code, ErrorCode::invalid_argument) << name;
        EXPECT_EQ(artefacts->partial_bytes(name), 0) << name;
        artefacts->remove(name);
    }
    EXPECT_EQ(files(), 0U);
}

TEST_F(FileArtefactsTest, removes_abandoned_uploads_when_opened) {
    auto artefacts = open();
    ASSERT_TRUE(artefacts->append(sha256_, 0, "old"));
    ASSERT_TRUE(artefacts->append(sha256_hex("2"), 0, "new"));
    const fs::path old = folder_.path() / "artefacts" / "partial" / sha256_;
    fs::last_write_time(old, fs::file_time_type::clock::now() - std::chrono::hours{25});
    artefacts = open();
    EXPECT_EQ(artefacts->partial_bytes(sha256_), 0);
    EXPECT_EQ(artefacts->partial_bytes(sha256_hex("2")), 3);
}

TEST_F(FileArtefactsTest, leaves_nothing_of_an_upload_on_a_full_disk) {
    const auto artefacts = open();
    // A limit on file size makes the system refuse writes as a full disk does; in a child, as it holds for a process.
    const pid_t child = ::fork();
    if (child == 0) {
        ::signal(SIGXFSZ, SIG_IGN);
        const rlimit small{50'000, 50'000};
        const bool limited = ::setrlimit(RLIMIT_FSIZE, &small) == 0;
        const bool begun = artefacts->append(sha256_, 0, std::string(30'000, 'x')).ok();
        const auto refused = artefacts->append(sha256_, 30'000, std::string(30'000, 'x'));
        const bool as_promised = limited && begun && !refused && refused.error().code == ErrorCode::unavailable &&
                                 artefacts->partial_bytes(sha256_) == 0;
        ::_exit(as_promised ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    EXPECT_EQ(files(), 0U);
}

TEST_F(FileArtefactsTest, serves_many_threads) {
    const auto artefacts = open();
    {
        std::vector<std::jthread> threads;
        for (int i = 0; i < 8; ++i) {
            threads.emplace_back([&, i] {
                const std::string content(static_cast<std::size_t>(1000 + i / 2), 'x'); // two threads for each blob
                const std::string sha256 = sha256_hex(content);
                while (!artefacts->path_of(sha256)) {
                    const std::int64_t have = artefacts->partial_bytes(sha256);
                    // Either may be refused, because the other thread was faster.
                    static_cast<void>(artefacts->append(
                        sha256, have, std::string_view{content}.substr(static_cast<std::size_t>(have)).substr(0, 100)));
                    if (artefacts->partial_bytes(sha256) == static_cast<std::int64_t>(content.size())) {
                        static_cast<void>(artefacts->finish(sha256));
                    }
                }
            });
        }
    }
    EXPECT_EQ(files(), 4U);
}

} // namespace
} // namespace muster::store
