#include "base/unnamed_file.h"
#include "collective/group_fixture.h"
#include "shipping/shipment.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <mutex>
#include <random>
#include <thread>

namespace muster::shipping {
namespace {

using collective::Group;
using collective::GroupFailed;
using collective::test::run_ranks;
using Bytes = std::vector<std::byte>;

std::string joined(const std::vector<std::string>& digests) {
    std::string all;
    for (const auto& digest : digests) {
        all += digest + "\n";
    }
    return sha256_hex(all);
}

std::string digest_of(const Bytes& bytes) {
    Sha256 hash;
    hash.update(bytes);
    return hash.finish_hex();
}

/// Three parts of random bytes, none a multiple of the block.
struct Goods {
    explicit Goods(std::size_t size) {
        std::mt19937 random{7}; // NOLINT: the same goods each time
        for (const std::size_t part : {size, std::size_t{0}, size / 3 + 1}) {
            Bytes bytes(part);
            std::ranges::generate(bytes, [&] { return static_cast<std::byte>(random()); });
            parts.push_back(std::move(bytes));
        }
    }
    [[nodiscard]] std::vector<Cargo> cargo() const {
        return {{"features", parts[0]}, {"nothing", parts[1]}, {"target", parts[2]}};
    }
    [[nodiscard]] std::string digest() const {
        return joined({digest_of(parts[0]), digest_of(parts[1]), digest_of(parts[2])});
    }
    [[nodiscard]] std::int64_t bytes() const { return std::ssize(parts[0]) + std::ssize(parts[2]); }
    [[nodiscard]] Landing landing(const std::string& digest) const {
        std::vector<LandingPart> places;
        for (const Bytes& part : parts) {
            places.push_back({"part",
                              std::ssize(part),
                              open_unnamed(std::filesystem::temp_directory_path(), std::ssize(part)).value()});
        }
        return Landing::over(std::move(places), digest, joined).value();
    }
    /// Whether the files hold the goods.
    [[nodiscard]] bool are_in(const Landing& landing) const {
        for (std::size_t i = 0; i < parts.size(); ++i) {
            Bytes found(parts[i].size());
            if (::pread(landing.parts()[i].file.get(), found.data(), found.size(), 0) != std::ssize(found) ||
                found != parts[i]) {
                return false;
            }
        }
        return true;
    }

    std::vector<Bytes> parts;
};

/// Waits until so many bytes are in the file.
bool are_in(int file, std::int64_t bytes) {
    const auto deadline = Deadline::after(collective::test::patience);
    while (::lseek(file, 0, SEEK_END) < bytes && !deadline.passed()) {
        std::this_thread::yield();
    }
    return !deadline.passed();
}

const ShipmentSettings small_blocks{.block_bytes_max = 10'000, .blocks_pending = 3};
constexpr int holder = 0;

TEST(Shipment, brings_all_parts_to_all_receivers_while_others_stand_by) {
    const Goods goods{200'000};
    run_ranks(4, [&](Group& group) {
        if (group.rank() == holder) {
            const auto sent =
                ship(group, goods.cargo(), std::vector{1, 3}, std::vector{2}, small_blocks, system_pace());
            ASSERT_TRUE(sent) << sent.error().text();
            ASSERT_EQ(sent->size(), 2U);
            EXPECT_EQ(sent->at(1).to, 3);
            EXPECT_EQ(sent->at(1).bytes, goods.bytes());
            EXPECT_EQ(sent->at(1).resumed_from, 0);
            EXPECT_EQ(sent->at(1).digest, goods.digest());
        } else if (group.rank() == 2) {
            EXPECT_TRUE(stand_by(group, holder));
        } else {
            auto landing = goods.landing(goods.digest());
            const auto receipt = receive(group, holder, landing, small_blocks, system_pace());
            ASSERT_TRUE(receipt) << receipt.error().text();
            EXPECT_EQ(receipt->digest, goods.digest());
            EXPECT_TRUE(landing.verified());
            EXPECT_TRUE(goods.are_in(landing));
        }
        group.barrier(); // The group is as good as before.
    });
}

TEST(Shipment, of_nothing_is_verified_too) {
    const Goods goods{0};
    run_ranks(2, [&](Group& group) {
        if (group.rank() == holder) {
            EXPECT_TRUE(ship(group, goods.cargo(), std::vector{1}, {}, small_blocks, system_pace()));
        } else {
            auto landing = goods.landing(goods.digest());
            EXPECT_TRUE(receive(group, holder, landing, small_blocks, system_pace()));
        }
    });
}

/// Time that passes only when somebody sleeps. Any thread.
class SleepingPace {
public:
    explicit SleepingPace(std::function<void(int)> slept = {}) : slept_{std::move(slept)} {}
    [[nodiscard]] Pace pace() {
        return {clock_, [this](Duration wait) {
                    clock_.advance(wait);
                    const std::scoped_lock lock{mutex_};
                    total_ += wait;
                    if (slept_) {
                        slept_(++count_);
                    }
                }};
    }
    [[nodiscard]] Duration total() const { return total_; }

private:
    ManualClock clock_;
    std::mutex mutex_;
    std::function<void(int)> slept_;
    Duration total_{};
    int count_{0};
};

TEST(Shipment, goes_on_in_the_next_group_where_a_cut_ended_it) {
    const Goods goods{400'000};
    auto landing = goods.landing(goods.digest());
    const int file = landing.parts()[0].file.get();
    ShipmentSettings settings = small_blocks;
    settings.bytes_per_second_max = 10'000;
    run_ranks(2, [&](Group& group) {
        if (group.rank() == holder) {
            SleepingPace slow{[&](int count) {
                if (count == 20) {
                    EXPECT_TRUE(are_in(file, 1)) << "before anything arrived";
                    group.abort("the cable was cut");
                }
            }};
            EXPECT_THROW(static_cast<void>(ship(group, goods.cargo(), std::vector{1}, {}, settings, slow.pace())),
                         GroupFailed);
        } else {
            EXPECT_THROW(static_cast<void>(receive(group, holder, landing, settings, system_pace())), GroupFailed);
        }
    });
    const std::int64_t arrived = landing.arrived();
    EXPECT_GT(arrived, 0);
    EXPECT_LT(arrived, goods.bytes());
    EXPECT_FALSE(landing.verified());
    run_ranks(2, [&](Group& group) {
        const int other_holder = 1; // Whoever holds the same data can go on.
        if (group.rank() == other_holder) {
            const auto sent = ship(group, goods.cargo(), std::vector{0}, {}, small_blocks, system_pace());
            ASSERT_TRUE(sent) << sent.error().text();
            EXPECT_EQ(sent->front().resumed_from, arrived);
            EXPECT_LT(group.traffic().bytes_sent, goods.bytes() - arrived + 20'000) << "what was there goes no more";
        } else {
            const auto receipt = receive(group, other_holder, landing, small_blocks, system_pace());
            ASSERT_TRUE(receipt) << receipt.error().text();
            EXPECT_EQ(receipt->resumed_from, arrived);
        }
    });
    EXPECT_TRUE(goods.are_in(landing));
}

TEST(Shipment, keeps_those_waiting_who_have_theirs_or_need_nothing_for_as_long_as_others_take) {
    const Goods goods{30'000};
    const auto quick = [](collective::GroupSpec& spec) { spec.operation_timeout = std::chrono::milliseconds{1'500}; };
    run_ranks(
        4,
        [&](Group& group) {
            ShipmentSettings settings = small_blocks;
            settings.bytes_per_second_max = 15'000;
            settings.block_interval_max = std::chrono::milliseconds{100};
            settings.sign_interval = std::chrono::milliseconds{100};
            if (group.rank() == holder) {
                const auto sent =
                    ship(group, goods.cargo(), std::vector{1, 3}, std::vector{2}, settings, system_pace());
                ASSERT_TRUE(sent) << sent.error().text();
                EXPECT_GT(sent->back().seconds, 1.6) << "longer than a group waits";
            } else if (group.rank() == 2) {
                EXPECT_TRUE(stand_by(group, holder));
            } else {
                auto landing = goods.landing(goods.digest());
                if (group.rank() == 1) { // Has it from an attempt before.
                    ASSERT_TRUE(landing.append(goods.parts[0]));
                    ASSERT_TRUE(landing.append(goods.parts[2]));
                }
                EXPECT_TRUE(receive(group, holder, landing, settings, system_pace()));
            }
            group.barrier();
        },
        quick);
}

TEST(Shipment, is_no_faster_than_its_holder_allows) {
    const Goods goods{30'000};
    ShipmentSettings settings = small_blocks;
    settings.bytes_per_second_max = 1'000;
    run_ranks(3, [&](Group& group) {
        if (group.rank() == holder) {
            SleepingPace slow;
            const auto sent = ship(group, goods.cargo(), std::vector{1, 2}, {}, settings, slow.pace());
            ASSERT_TRUE(sent) << sent.error().text();
            const auto due = std::chrono::milliseconds{2 * goods.bytes()}; // 1 ms a byte
            EXPECT_GE(slow.total(), due - std::chrono::seconds{1}) << "but for the first burst";
            EXPECT_GT(sent->front().seconds, 35);
        } else {
            auto landing = goods.landing(goods.digest());
            EXPECT_TRUE(receive(group, holder, landing, settings, system_pace()));
        }
    });
}

TEST(Shipment, that_is_slow_arrives_block_by_block) {
    const Goods goods{30'000};
    auto landing = goods.landing(goods.digest());
    const int file = landing.parts()[0].file.get();
    ShipmentSettings settings = small_blocks;
    settings.bytes_per_second_max = 1'000;
    settings.blocks_pending = 100;
    run_ranks(2, [&](Group& group) {
        if (group.rank() == holder) {
            SleepingPace slow{[&](int slept) { EXPECT_TRUE(are_in(file, 1'000 * std::min(slept, 30))) << slept; }};
            EXPECT_TRUE(ship(group, goods.cargo(), std::vector{1}, {}, settings, slow.pace()));
        } else {
            EXPECT_TRUE(receive(group, holder, landing, settings, system_pace()));
        }
    });
}

TEST(Shipment, with_other_bytes_than_agreed_is_refused_by_the_senders_name_and_begins_again) {
    const Goods goods{50'000};
    const std::string agreed = sha256_hex("something else");
    run_ranks(3, [&](Group& group) {
        if (group.rank() == holder) {
            const auto sent = ship(group, goods.cargo(), std::vector{1}, std::vector{2}, small_blocks, system_pace());
            ASSERT_FALSE(sent);
            EXPECT_EQ(sent.error().code, ErrorCode::conflict);
            EXPECT_NE(sent.error().message.find("rank 1"), std::string::npos) << sent.error().message;
        } else if (group.rank() == 2) {
            EXPECT_FALSE(stand_by(group, holder));
        } else {
            auto landing = goods.landing(agreed);
            const auto receipt = receive(group, holder, landing, small_blocks, system_pace());
            ASSERT_FALSE(receipt);
            EXPECT_EQ(receipt.error().code, ErrorCode::conflict);
            EXPECT_NE(receipt.error().message.find("shipped by rank 0"), std::string::npos) << receipt.error().message;
            EXPECT_EQ(landing.arrived(), 0);
        }
    });
}

TEST(Shipment, of_another_size_than_expected_sends_nothing) {
    const Goods goods{50'000};
    const Goods others{40'000};
    run_ranks(2, [&](Group& group) {
        if (group.rank() == holder) {
            const auto sent = ship(group, goods.cargo(), std::vector{1}, {}, small_blocks, system_pace());
            ASSERT_FALSE(sent);
            EXPECT_EQ(sent.error().code, ErrorCode::conflict);
            EXPECT_LT(group.traffic().bytes_sent, 10'000);
        } else {
            auto landing = others.landing(others.digest());
            const auto receipt = receive(group, holder, landing, small_blocks, system_pace());
            ASSERT_FALSE(receipt);
            EXPECT_EQ(receipt.error().code, ErrorCode::conflict) << receipt.error().text();
            EXPECT_EQ(landing.arrived(), 0);
        }
    });
}

TEST(Shipment, to_a_full_disk_fails_and_the_others_get_theirs) {
    const Goods goods{50'000};
    run_ranks(3, [&](Group& group) {
        if (group.rank() == holder) {
            const auto sent = ship(group, goods.cargo(), std::vector{1, 2}, {}, small_blocks, system_pace());
            ASSERT_FALSE(sent);
            EXPECT_EQ(sent.error().code, ErrorCode::resource_exhausted);
            EXPECT_NE(sent.error().message.find("rank 1"), std::string::npos) << sent.error().message;
        } else if (group.rank() == 1) {
            std::vector<LandingPart> places;
            places.push_back({"features", goods.bytes(), UniqueFd{::open("/dev/full", O_WRONLY | O_CLOEXEC)}});
            auto landing = Landing::over(std::move(places), goods.digest(), joined).value();
            const auto receipt = receive(group, holder, landing, small_blocks, system_pace());
            ASSERT_FALSE(receipt);
            EXPECT_EQ(receipt.error().code, ErrorCode::resource_exhausted) << receipt.error().text();
        } else {
            auto landing = goods.landing(goods.digest());
            EXPECT_FALSE(receive(group, holder, landing, small_blocks, system_pace())) << "one of them has none";
            EXPECT_TRUE(landing.verified());
            EXPECT_TRUE(goods.are_in(landing));
        }
    });
}

} // namespace
} // namespace muster::shipping
