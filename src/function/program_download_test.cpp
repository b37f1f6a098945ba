#include "base/digest.h"
#include "base/file.h"
#include "base/id.h"
#include "function/program_download.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>

namespace muster::function {
namespace {

/// Gives one text to everybody.
class OneBlob final : public ProducerLink {
public:
    explicit OneBlob(std::string content) : content_{std::move(content)} {}
    Result<void> send(const FromFunction& /*message*/) override { return {}; }
    Result<void>
    upload(const std::filesystem::path& /*file*/, const std::string& /*digest*/, Deadline /*at*/) override {
        return {};
    }
    Result<void> download(const std::string& /*sha256*/,
                          const std::filesystem::path& file,
                          std::int64_t bytes_max,
                          Deadline /*deadline*/) override {
        if (std::ssize(content_) > bytes_max) {
            return Error{ErrorCode::resource_exhausted, "too large"};
        }
        return replace_file(file, content_);
    }

private:
    std::string content_;
};

class ProgramDownloads : public testing::Test {
protected:
    ~ProgramDownloads() override { std::filesystem::remove_all(folder); }
    [[nodiscard]] ProgramDownload wanted(const std::string& content) const {
        return {.sha256 = sha256_hex(content), .bytes = std::ssize(content), .bytes_max = 100, .folder = folder};
    }
    [[nodiscard]] static Deadline soon() { return Deadline::after(std::chrono::seconds{10}); }
    std::filesystem::path folder{std::filesystem::temp_directory_path() / ("muster-program-" + random_hex(8))};
};

TEST_F(ProgramDownloads, give_an_open_file_that_has_no_name) {
    OneBlob producer{"a program"};
    const auto program = download_program(producer, wanted("a program"), soon());
    ASSERT_TRUE(program.ok()) << program.error().text();
    std::array<char, 32> text{};
    EXPECT_EQ(::pread(program->get(), text.data(), text.size(), 0), 9);
    EXPECT_STREQ(text.data(), "a program");
    EXPECT_FALSE(std::filesystem::exists(folder));
}

TEST_F(ProgramDownloads, refuse_another_file_and_leave_nothing) {
    OneBlob producer{"a grogram"};
    EXPECT_EQ(download_program(producer, wanted("a program"), soon()).error().code, ErrorCode::invalid_argument);
    EXPECT_EQ(download_program(producer, wanted("short"), soon()).error().code, ErrorCode::resource_exhausted);
    EXPECT_FALSE(std::filesystem::exists(folder));
}

TEST_F(ProgramDownloads, refuse_what_is_too_large_without_asking) {
    OneBlob producer{"unused"};
    EXPECT_EQ(download_program(producer, wanted(std::string(101, 'x')), soon()).error().code,
              ErrorCode::resource_exhausted);
}

} // namespace
} // namespace muster::function
