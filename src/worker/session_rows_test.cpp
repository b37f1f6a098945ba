#include "base/unnamed_file.h"
#include "process_group/loopback_groups.h"
#include "wire/preprocessing.h"
#include "worker/session_rows.h"
#include "worker/testing_matrix.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <mutex>

namespace muster::worker {
namespace {

using process_group::testing::run_ranks;

/// What the holder has on its disk.
class Rows : public testing::Test {
protected:
    Rows() {
        std::string pattern = (std::filesystem::temp_directory_path() / "muster-rows-XXXXXX").string();
        folder_ = ::mkdtemp(pattern.data());
        described.matrix = {.rows = 5'000, .test_rows = 300, .columns = 7};
        described.preprocessing.target.name = "y";
        std::vector<std::string> digests;
        std::uint32_t state = 1;
        for (const MatrixPart& part : parts_of(described.matrix)) {
            files.push_back(open_unnamed(folder_, part.bytes).value());
            std::vector<float> numbers(static_cast<std::size_t>(part.bytes) / sizeof(float));
            for (float& number : numbers) {
                state = state * 1664525 + 1013904223;
                number = static_cast<float>(state >> 8U) * 1e-7F;
            }
            EXPECT_EQ(::pwrite(files.back().get(), numbers.data(), static_cast<std::size_t>(part.bytes), 0),
                      part.bytes);
            Sha256 hash;
            hash.update(std::as_bytes(std::span{numbers}));
            digests.push_back(hash.finish_hex());
        }
        described.matrix.digest = wire::matrix_digest(digests, described.preprocessing);
        data.matrices =
            map_matrices({files[0].get(), files[1].get(), files[2].get(), files[3].get()}, described.matrix).value();
        data.info = described.matrix;
        data.preprocessing = described.preprocessing;
        roster.members = {{.dn = "holder"}, {.dn = "receiver", .rows_from = "holder"}, {.dn = "second holder"}};
    }
    ~Rows() override { std::filesystem::remove_all(folder_); }

    shipping::Landing landing() const {
        SessionJobSettings settings;
        std::vector<int> fds;
        for (const MatrixPart& part : parts_of(described.matrix)) {
            fds.push_back(open_unnamed(folder_, part.bytes)->release()); // the landing's from now on
        }
        settings.landing = {fds[0], fds[1], fds[2], fds[3]};
        return *open_landing(settings, described).value();
    }

    DataElsewhere described;
    std::vector<UniqueFd> files;
    SessionData data;
    Roster roster;

private:
    std::filesystem::path folder_;
};

TEST_F(Rows, are_the_holders_where_they_have_landed) {
    std::mutex mutex;
    std::int64_t arrived = 0;
    run_ranks(3, [&](const std::shared_ptr<collective::Group>& group) {
        if (group->rank() != 1) {
            const auto sent = exchange_rows(*group, roster, data, nullptr, {});
            ASSERT_TRUE(sent) << sent.error().text();
            ASSERT_EQ(sent->size(), group->rank() == 0 ? 1U : 0U);
            return;
        }
        auto place = landing();
        const auto none = matrices_elsewhere(described.matrix).value();
        const auto received =
            exchange_rows(*group, roster, {}, &place, {.on_arrival = [&](std::int64_t now, std::int64_t) {
                const std::scoped_lock lock{mutex};
                arrived = now;
            }});
        ASSERT_TRUE(received) << received.error().text();
        const Shipment& shipment = received->front();
        EXPECT_EQ(shipment.from, "holder");
        EXPECT_EQ(shipment.to, "receiver");
        EXPECT_EQ(shipment.bytes, bytes_of(described.matrix));
        EXPECT_EQ(shipment.digest, described.matrix.digest);
        const auto here = landed(place, described);
        ASSERT_TRUE(here) << here.error().text();
        EXPECT_TRUE(here->matrices.train.held);
        EXPECT_TRUE(std::ranges::equal(here->matrices.train.features.values(), data.matrices.train.features.values()));
        EXPECT_TRUE(std::ranges::equal(here->matrices.test.target.values(), data.matrices.test.target.values()));
        EXPECT_EQ(here->info.digest, described.matrix.digest);
    });
    EXPECT_GT(arrived, 0);
}

TEST_F(Rows, of_other_content_than_was_agreed_fail_on_all_ranks) {
    described.matrix.digest = std::string(64, '0');
    run_ranks(3, [&](const std::shared_ptr<collective::Group>& group) {
        auto place = landing();
        const auto result = exchange_rows(*group, roster, data, group->rank() == 1 ? &place : nullptr, {});
        EXPECT_FALSE(result) << group->rank();
    });
}

TEST_F(Rows, need_a_roster_that_can_be_meant) {
    EXPECT_TRUE(ships_rows(roster));
    EXPECT_FALSE(ships_rows({.members = {{.dn = "holder"}}}));
    run_ranks(1, [&](const std::shared_ptr<collective::Group>& group) {
        Roster two = roster;
        two.members[2].rows_from = "receiver";
        EXPECT_NE(exchange_rows(*group, two, data, nullptr, {}).error().message.find("two members"), std::string::npos);
        Roster nobody = roster;
        nobody.members[1].rows_from = "somebody";
        EXPECT_NE(exchange_rows(*group, nobody, data, nullptr, {}).error().message.find("no holder"),
                  std::string::npos);
        SessionData none{.matrices = matrices_elsewhere(described.matrix).value(), .info = {}, .preprocessing = {}};
        EXPECT_NE(exchange_rows(*group, roster, none, nullptr, {}).error().message.find("does not hold"),
                  std::string::npos);
    });
    SessionJobSettings incomplete;
    incomplete.landing.train_features = 0;
    EXPECT_NE(open_landing(incomplete, described).error().message.find("no file for train.target"), std::string::npos);
    EXPECT_FALSE(open_landing({}, described)->has_value());
}

} // namespace
} // namespace muster::worker
