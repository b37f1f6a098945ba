/// Peers that must not get in, and members that send what no member sends.
#include "collective/frame.h"
#include "collective/group_fixture.h"
#include "collective/hello.h"
#include "collective/join.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <random>

namespace muster::collective {
namespace {

using test::connect;
using test::identity_of;
using test::in_threads;
using test::patience;
using test::Pki;
using test::Town;
using Bytes = std::vector<std::byte>;

UniqueFd dial(const std::string& address) {
    return tcp_dialer()->dial(address, Deadline::after(patience)).value();
}

/// A connection used as if it blocked.
class Raw {
public:
    Raw(const std::string& address, const tls::Credentials& credentials)
        : connection_{std::make_unique<TlsConnection>(
              dial(address), tls::Context::client(credentials).value(), TlsConnection::Side::client)} {
        for (auto status = connection_->handshake(); status != IoStatus::done; status = connection_->handshake()) {
            wait(status);
        }
    }

    void write(std::span<const std::byte> data) {
        while (!data.empty()) {
            const auto result = connection_->write(data);
            wait(result.status);
            data = data.subspan(result.bytes);
        }
    }
    /// Reads one hello message and returns the text of a refusal, or "welcome".
    std::string answer() {
        const auto bytes = read(hello_head_bytes);
        const auto head = decode_head(std::span{bytes}.first<hello_head_bytes>()).value();
        const auto body = read(head.body_bytes);
        return head.kind == HelloKind::refusal ? decode_refusal(body).value().text : "welcome";
    }
    void finish() { connection_->finish(); }

private:
    Bytes read(std::size_t size) {
        Bytes data(size);
        for (std::size_t done = 0; done < size;) {
            const auto result = connection_->read(std::span{data}.subspan(done));
            wait(result.status);
            done += result.bytes;
        }
        return data;
    }
    void wait(IoStatus status) {
        if (status == IoStatus::done) {
            return;
        }
        pollfd entry{.fd = connection_->fd(),
                     .events = static_cast<short>(status == IoStatus::want_write ? POLLOUT : POLLIN),
                     .revents = 0};
        const bool waits = status == IoStatus::want_read || status == IoStatus::want_write;
        if (!waits || ::poll(&entry, 1, Deadline::after(patience).left_ms()) <= 0) {
            throw std::runtime_error{"raw connection: " + connection_->explain()};
        }
    }

    std::unique_ptr<TlsConnection> connection_;
};

/// Rank 1 of a group of two waits for rank 0; first `hostile(town)` tries to get in. The group must still come up.
/// Returns what rank 1 refused.
std::string refusals_of(const std::function<void(const Town&)>& hostile, int stripes = 1) {
    const Town town{2};
    std::mutex mutex;
    std::string refusals;
    in_threads(2, [&](int rank) {
        auto spec = town.spec(rank);
        spec.stripes = stripes;
        if (rank == 1) {
            spec.on_refusal = [&](const std::string& reason) {
                const std::scoped_lock lock{mutex};
                refusals += reason + "\n";
            };
        } else {
            hostile(town);
        }
        auto group = connect(town, std::move(spec));
        if (!group) {
            throw std::runtime_error{group.error().text()};
        }
        (*group)->barrier();
    });
    return refusals;
}

/// What a false rank 0 gets to read when it dials rank 1.
std::string rejected(GroupSpec spec) {
    const auto own = test::listen_on_loopback();
    auto group = Group::connect(std::move(spec), own.fd.get(), *tcp_dialer(), Deadline::after(patience));
    return group ? "admitted" : std::string{name_of(group.error().code)} + ": " + group.error().text();
}

struct FalseMember {
    const char* name;
    std::function<void(GroupSpec&)> change;
    const char* told;    ///< to the false member
    const char* refused; ///< at rank 1
};

class Hostile : public testing::TestWithParam<FalseMember> {};

TEST_P(Hostile, member_is_refused_with_its_reason_on_both_sides) {
    std::string told;
    const auto refused = refusals_of([&](const Town& town) {
        auto spec = town.spec(0);
        GetParam().change(spec);
        told = rejected(spec);
    });
    EXPECT_NE(told.find("permission_denied"), std::string::npos) << told;
    EXPECT_NE(told.find("rank 1 (gnb-1)"), std::string::npos) << told;
    EXPECT_NE(told.find(GetParam().told), std::string::npos) << told;
    EXPECT_NE(refused.find(GetParam().refused), std::string::npos) << refused;
}

INSTANTIATE_TEST_SUITE_P(
    Member,
    Hostile,
    testing::Values(FalseMember{"WrongCa",
                                [](GroupSpec& spec) {
                                    // It trusts the job's CA, so that the refusal is rank 1's.
                                    const auto trust = spec.credentials.trust;
                                    spec.credentials = Pki{}.member(identity_of(0));
                                    spec.credentials.trust = trust;
                                },
                                "does not trust the CA",
                                "from a CA that is not trusted here"},
                    FalseMember{
                        "WrongSan",
                        [](GroupSpec& spec) { spec.credentials = Pki::shared().member("muster://job/other/1"); },
                        "wrong SAN",
                        "wrong SAN: 'muster://job/other/1' is not a member"},
                    FalseMember{"SanOfTheOtherRank",
                                [](GroupSpec& spec) { spec.credentials = Town::credentials_of(1); },
                                "claims rank 0",
                                "wrong SAN: claims rank 0"},
                    FalseMember{"Expired",
                                [](GroupSpec& spec) { spec.credentials = Pki::shared().expired(identity_of(0)); },
                                "has expired",
                                "has expired on"},
                    FalseMember{"WrongClock",
                                [](GroupSpec& spec) { spec.credentials = Pki::shared().not_valid_yet(identity_of(0)); },
                                "compare both machines' clocks",
                                "one of the two machines' clocks is wrong"},
                    FalseMember{"StaleGeneration",
                                [](GroupSpec& spec) { spec.generation = 2; },
                                "stale generation 2, the current one is 3",
                                "stale generation 2, the current one is 3"},
                    FalseMember{"WrongPlanDigest",
                                [](GroupSpec& spec) { spec.plan_digest = "beef"; },
                                "wrong plan digest",
                                "wrong plan digest: the peer has 'beef', this rank has 'cafe'"},
                    FalseMember{"WrongJob", [](GroupSpec& spec) { spec.job = "job-2"; }, "wrong job", "wrong job"}),
    [](const auto& member) { return std::string{member.param.name}; });

TEST(Certificate, that_is_about_to_expire_is_warned_of_on_both_sides) {
    const Town town{2};
    std::array<std::string, 2> warnings;
    in_threads(2, [&](int rank) {
        auto spec = town.spec(rank);
        if (rank == 0) {
            spec.credentials = Pki::shared().about_to_expire(identity_of(0));
        }
        spec.on_warning = [&](const std::string& sentence) { warnings.at(static_cast<std::size_t>(rank)) += sentence; };
        connect(town, std::move(spec)).value()->barrier();
    });
    for (const auto& warning : warnings) {
        EXPECT_EQ(warning.find("the certificate of rank 0 (gnb-0) expires on 20"), 0U) << warning;
        EXPECT_NE(warning.find("in 2 minutes; renew it"), std::string::npos) << warning;
        EXPECT_EQ(warning.find("rank 1"), std::string::npos) << warning;
    }
}

TEST(Stranger, that_speaks_plain_text_is_named) {
    std::optional<UniqueFd> socket;
    const auto refused = refusals_of([&](const Town& town) {
        socket = dial(town.members[1].addresses.front());
        const std::string_view text = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
        ASSERT_GT(::send(socket->get(), text.data(), text.size(), MSG_NOSIGNAL), 0);
    });
    EXPECT_NE(refused.find("plain"), std::string::npos) << refused;
}

TEST(Stranger, that_sends_random_bytes_costs_only_itself) {
    std::vector<UniqueFd> sockets;
    const auto refused = refusals_of([&](const Town& town) {
        std::mt19937 random{3};
        for (int i = 0; i < 20; ++i) {
            std::string noise(1 + random() % 5000, '\0');
            std::ranges::generate(noise, [&] { return static_cast<char>(random()); });
            sockets.push_back(dial(town.members[1].addresses.front()));
            (void)::send(sockets.back().get(), noise.data(), noise.size(), MSG_NOSIGNAL);
        }
    });
    EXPECT_NE(refused.find("127.0.0.1"), std::string::npos);
}

TEST(Stranger, that_holds_half_a_handshake_open_delays_nobody) {
    std::vector<UniqueFd> sockets;
    const auto begin = std::chrono::steady_clock::now();
    refusals_of([&](const Town& town) {
        for (int i = 0; i < 40; ++i) {
            sockets.push_back(dial(town.members[1].addresses.front()));
            // The head of a TLS record that never comes.
            (void)::send(sockets.back().get(), "\x16\x03\x01\x02\x00\x01", 6, MSG_NOSIGNAL);
        }
    });
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds{4});
}

TEST(Stranger, cannot_keep_members_out_by_numbers) {
    std::vector<UniqueFd> sockets;
    const auto refused = refusals_of([&](const Town& town) {
        for (int i = 0; i < 300; ++i) {
            sockets.push_back(dial(town.members[1].addresses.front()));
        }
    });
    EXPECT_NE(refused.find("too many half-open connections"), std::string::npos);
}

/// MUSTER_STRANGERS says how many; the project's promise is for 10,000.
TEST(Stranger, cannot_keep_members_out_by_a_flood) {
    const char* told = std::getenv("MUSTER_STRANGERS");
    const auto strangers = told == nullptr ? 2000U : static_cast<unsigned>(std::stoul(told));
    rlimit files{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &files), 0);
    const auto before = files;
    files.rlim_cur = std::min<rlim_t>(files.rlim_max, std::max<rlim_t>(files.rlim_cur, 2 * strangers + 500));
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &files), 0);
    std::vector<UniqueFd> sockets;
    std::thread flood;
    std::atomic<unsigned> opened{0};
    const auto begin = std::chrono::steady_clock::now();
    const auto refused = refusals_of([&](const Town& town) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        const auto& text = town.members[1].addresses.front();
        address.sin_port = htons(static_cast<std::uint16_t>(std::stoi(text.substr(text.rfind(':') + 1))));
        flood = std::thread{[&sockets, &opened, address, strangers] {
            for (unsigned i = 0; i < strangers; ++i) {
                UniqueFd socket{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
                (void)::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
                sockets.push_back(std::move(socket));
                ++opened;
            }
        }};
        const auto until = Deadline::after(patience);
        while (opened < strangers / 4 && !until.passed()) { // The member comes in the middle of it.
            std::this_thread::yield();
        }
    });
    flood.join();
    EXPECT_EQ(sockets.size(), strangers);
    EXPECT_NE(refused.find("too many connections from this address"), std::string::npos);
    EXPECT_LT(std::ranges::count(refused, '\n'), 400) << "a flood must not fill the log";
    EXPECT_LT(std::chrono::steady_clock::now() - begin, patience);
    EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
}

Hello hello_of_rank_0(const Town& town, int stripes = 1) {
    const auto spec = town.spec(0);
    return {.job = spec.job,
            .generation = spec.generation,
            .plan_digest = spec.plan_digest,
            .size = 2,
            .rank = 0,
            .peer_rank = 1,
            .stripes = stripes,
            .segment_bytes = spec.segment_bytes,
            .tuning = hash_of(spec.tuning)};
}

TEST(Hello, replayed_on_a_second_connection_is_refused) {
    const auto hostile = [&](const Town& town) {
        const auto message = encode(HelloKind::hello, hello_of_rank_0(town, 2));
        Raw first{town.members[1].addresses.front(), Town::credentials_of(0)};
        first.write(message);
        EXPECT_EQ(first.answer(), "welcome");
        Raw second{town.members[1].addresses.front(), Town::credentials_of(0)};
        second.write(message);
        EXPECT_NE(second.answer().find("connected already"), std::string::npos);
        // With the first one gone the place is free again, for the true rank 0.
    };
    const auto refused = refusals_of(hostile, 2);
    EXPECT_NE(refused.find("replayed"), std::string::npos);
}

TEST(Hello, that_is_malformed_is_refused_with_a_reason) {
    struct Case {
        std::function<void(Bytes&)> change;
        const char* reason;
    };
    const Case cases[] = {
        {[](Bytes& bytes) { bytes[0] = std::byte{0}; }, "not a Muster"},
        {[](Bytes& bytes) { bytes[4] = std::byte{7}; }, "speaks protocol version 7"},
        {[](Bytes& bytes) { bytes[10] = std::byte{0x7f}; }, "at most 4096"},
        {[](Bytes& bytes) { bytes[6] = std::byte{2}; }, "wrong order"},
        {[](Bytes& bytes) { bytes[hello_head_bytes + 20] = std::byte{9}; }, "connection 9 of 1"},
        {[](Bytes& bytes) {
             bytes.resize(bytes.size() - 1);
             bytes[8] = static_cast<std::byte>(std::to_integer<int>(bytes[8]) - 1);
         },
         "malformed hello"},
    };
    const auto refused = refusals_of([&](const Town& town) {
        for (const auto& example : cases) {
            auto message = encode(HelloKind::hello, hello_of_rank_0(town));
            example.change(message);
            Raw peer{town.members[1].addresses.front(), Town::credentials_of(0)};
            peer.write(message);
            const auto answer = peer.answer();
            EXPECT_NE(answer.find(example.reason), std::string::npos) << answer;
        }
        Raw cut{town.members[1].addresses.front(), Town::credentials_of(0)};
        const auto message = encode(HelloKind::hello, hello_of_rank_0(town));
        cut.write(std::span{message}.first(20));
        cut.finish();
    });
    EXPECT_NE(refused.find("malformed hello"), std::string::npos);
}

/// Reads a frame as if the connection blocked.
FrameHeader next_frame(Connection& connection) {
    const auto read = [&](std::span<std::byte> place) {
        while (!place.empty()) {
            const auto result = connection.read(place);
            place = place.subspan(result.bytes);
            pollfd entry{.fd = connection.fd(), .events = POLLIN, .revents = 0};
            if (result.status != IoStatus::done && ::poll(&entry, 1, Deadline::after(patience).left_ms()) <= 0) {
                throw std::runtime_error{"no frame came"};
            }
        }
    };
    std::array<std::byte, frame_header_bytes> head{};
    read(head);
    const auto header = decode(head, 1U << 20U).value();
    Bytes payload(header.payload_bytes);
    read(payload);
    return header;
}

/// Rank 0 is a member that joined rightly and then writes `bytes` to the connection; `last` ends it.
/// Returns what rank 1's next collective throws.
std::string failure_after(const Bytes& bytes, const std::function<void(Connection&)>& last) {
    const Town town{2};
    std::string text;
    in_threads(2, [&](int rank) {
        if (rank == 1) {
            auto group = connect(town, town.spec(1)).value();
            try {
                group->barrier();
            } catch (const GroupFailed& failure) {
                EXPECT_EQ(failure.culprit(), 0);
                text = failure.what();
            }
            EXPECT_THROW(group->barrier(), GroupFailed) << "a group stays dead";
            return;
        }
        const auto spec = town.spec(0);
        auto edges = join(spec, town.listener(0), *tcp_dialer(), Deadline::after(patience)).value();
        const auto hello =
            encode(FrameHeader{.eager = true, .call = {.collective = Collective::barrier, .sequence = 1}});
        auto& pair = *edges[1][0];
        EXPECT_EQ(pair.write(hello).bytes, hello.size());
        while (next_frame(pair).call.sequence < 2) { // Until rank 1 is in the second barrier.
        }
        EXPECT_TRUE(bytes.empty() || pair.write(bytes).bytes == bytes.size());
        last(pair);
        // Until rank 1 has given up.
        pollfd entry{.fd = pair.fd(), .events = POLLIN, .revents = 0};
        EXPECT_GT(::poll(&entry, 1, Deadline::after(patience).left_ms()), 0);
    });
    return text;
}

Bytes bytes_of(const FrameHeader& header) {
    const auto encoded = encode(header);
    return {encoded.begin(), encoded.end()};
}

const Call second_barrier{.collective = Collective::barrier, .sequence = 2};

TEST(Member, that_sends_an_oversized_length_is_named) {
    const auto text = failure_after(bytes_of({.call = second_barrier, .payload_bytes = 1U << 31U}), [](Connection&) {});
    EXPECT_NE(text.find("rank 0 (gnb-0): malformed frame: payload of 2147483648 bytes"), std::string::npos) << text;
}

TEST(Member, that_sends_random_bytes_is_named) {
    const auto text = failure_after(Bytes(100, std::byte{0xa5}), [](Connection&) {});
    EXPECT_NE(text.find("rank 0 (gnb-0): malformed frame: kind 165"), std::string::npos) << text;
}

TEST(Member, that_ends_in_the_middle_of_a_frame_is_named) {
    auto cut = bytes_of({.call = second_barrier});
    cut.resize(17);
    const auto text = failure_after(cut, [](Connection& pair) { pair.finish(); });
    EXPECT_NE(text.find("closed in the middle of a frame"), std::string::npos) << text;
}

TEST(Member, that_ends_without_close_notify_has_failed) {
    const auto text = failure_after({}, [](Connection& pair) { pair.shut_down(); });
    EXPECT_NE(text.find("without close_notify"), std::string::npos) << text;
}

TEST(Member, that_leaves_in_good_order_is_missed_by_the_next_collective) {
    const auto text = failure_after({}, [](Connection& pair) { pair.finish(); });
    EXPECT_NE(text.find("rank 0 (gnb-0): left the group, in barrier #2"), std::string::npos) << text;
}

TEST(Member, that_repeats_a_frame_is_named) {
    const auto text = failure_after(
        bytes_of({.eager = true, .call = {.collective = Collective::barrier, .sequence = 1}}), [](Connection&) {});
    EXPECT_NE(text.find("rank 0 (gnb-0): sent a frame out of order in barrier #1, in barrier #2"), std::string::npos)
        << text;
}

} // namespace
} // namespace muster::collective
