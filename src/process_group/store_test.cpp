#include "process_group/meeting.h"
#include "process_group/remote_store.h"
#include "tls/keys.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>

#include <latch>
#include <mutex>
#include <thread>

namespace muster::process_group {
namespace {

using namespace std::chrono_literals;
using Bytes = std::vector<std::uint8_t>;

tls::Authority make_authority() {
    const auto now = std::chrono::system_clock::now();
    return tls::Authority::open(tls::Authority::make_root("job CA", 1h, now)).value();
}

/// A job of three ranks.
class Job {
public:
    Job() {
        for (int rank = 0; rank < 3; ++rank) {
            identities_.push_back(tls::job_uri("demo", "rank-" + std::to_string(rank)));
        }
        auto listener = listen_on("127.0.0.1", 0).value();
        address_ = listener.address();
        server_ = StoreServer::start(membership(0), std::move(listener.fd), [this](const std::string& why) {
                      const std::scoped_lock lock{mutex_};
                      refusals_.push_back(why);
                  }).value();
    }

    Membership membership(int rank) {
        return {.job = "demo",
                .generation = 3,
                .rank = rank,
                .identities = identities_,
                .credentials = credentials(identities_[static_cast<std::size_t>(rank)], authority_)};
    }

    static tls::Credentials
    credentials(const std::string& uri, const tls::Authority& authority, std::chrono::seconds lifetime = 1h) {
        tls::CertificateSpec spec;
        spec.uri = uri;
        spec.lifetime = lifetime;
        return {authority.issue(spec, std::chrono::system_clock::now()).value(), authority.certificate()};
    }

    c10::intrusive_ptr<RemoteStore> store(int rank, std::chrono::milliseconds timeout = 20s) {
        return c10::make_intrusive<RemoteStore>(membership(rank), address_, timeout);
    }

    /// Why this membership gets no store.
    std::string refused(Membership membership, std::chrono::milliseconds timeout = 20s) {
        try {
            RemoteStore store{std::move(membership), address_, timeout};
        } catch (const c10::DistStoreError& error) {
            return error.what_without_backtrace();
        }
        return "admitted";
    }

    /// Waits until the server has written a refusal with these words.
    bool logged(const std::string& words) {
        const auto deadline = Deadline::after(10s);
        while (!deadline.passed()) {
            const std::scoped_lock lock{mutex_};
            for (const auto& refusal : refusals_) {
                if (refusal.find(words) != std::string::npos) {
                    return true;
                }
            }
        }
        return false;
    }

    tls::Authority authority_{make_authority()};
    std::vector<std::string> identities_;
    std::string address_;
    std::mutex mutex_;
    std::vector<std::string> refusals_;
    std::shared_ptr<StoreServer> server_;
};

Bytes bytes(const std::string& text) {
    return {text.begin(), text.end()};
}

TEST(Store, ranks_share_keys_through_every_operation_of_c10d) {
    Job job;
    auto a = job.store(0);
    auto b = job.store(1);
    EXPECT_EQ(a->session(), b->session());
    EXPECT_EQ(b->own_host(), "127.0.0.1");
    a->set("key", bytes(std::string{"\0\xff", 2}));
    EXPECT_EQ(b->get("key"), bytes(std::string{"\0\xff", 2}));
    EXPECT_EQ(b->add("n", 3), 3);
    EXPECT_EQ(a->add("n", -1), 2);
    EXPECT_TRUE(a->check({"key", "n"}));
    EXPECT_FALSE(a->check({"key", "nothing"}));
    EXPECT_EQ(a->compareSet("key", bytes("x"), bytes("y")), bytes(std::string{"\0\xff", 2}));
    b->append("key", bytes("!"));
    EXPECT_EQ(a->get("key").size(), 3U);
    b->multiSet({"p", "q"}, {bytes("1"), bytes("2")});
    EXPECT_EQ(a->multiGet({"q", "p"}), (std::vector<Bytes>{bytes("2"), bytes("1")}));
    EXPECT_EQ(a->getNumKeys(), 4);
    EXPECT_EQ(a->listKeys().size(), 4U);
    EXPECT_TRUE(b->deleteKey("p"));
    EXPECT_FALSE(b->deleteKey("p"));
    a->queuePush("jobs", bytes("first"));
    EXPECT_EQ(b->queueLen("jobs"), 1);
    EXPECT_EQ(b->queuePop("jobs", true), bytes("first"));
    EXPECT_THROW(b->queuePop("jobs", false), c10::DistQueueEmptyError);
    EXPECT_TRUE(a->hasExtendedApi());
    // Large, and through what torch puts in front of it.
    c10d::PrefixStore prefixed{"group", b};
    prefixed.set("large", Bytes(8U << 20U, 7));
    EXPECT_EQ(a->get("group/large").size(), 8U << 20U);
}

TEST(Store, a_waiting_request_holds_up_no_other) {
    Job job;
    auto store = job.store(0);
    auto clone = store->clone();
    std::latch begun{2};
    std::jthread waits{[&] {
        begun.count_down();
        EXPECT_EQ(store->get("late"), bytes("now"));
    }};
    std::jthread pops{[&] {
        begun.count_down();
        EXPECT_EQ(clone->queuePop("queue", true), bytes("task"));
    }};
    begun.wait();
    EXPECT_EQ(store->add("other", 1), 1);
    store->set("late", bytes("now"));
    store->queuePush("queue", bytes("task"));
}

TEST(Store, a_clone_has_owners_and_ends_with_the_last) {
    Job job;
    auto store = job.store(0);
    c10::weak_intrusive_ptr<c10d::Store> seen{store->clone()};
    EXPECT_TRUE(seen.expired());
    const auto clone = store->clone();
    EXPECT_EQ(clone.use_count(), 1U);
    { const auto copy = clone; }
    clone->set("key", bytes("value"));
    EXPECT_EQ(store->get("key"), bytes("value"));
}

TEST(Store, a_barrier_of_the_base_class_works) {
    Job job;
    std::vector<std::jthread> ranks;
    for (int rank = 0; rank < 3; ++rank) {
        ranks.emplace_back([&job, rank] { job.store(rank)->barrier("all", 3, 20s); });
    }
}

TEST(Store, what_does_not_come_is_named) {
    Job job;
    auto store = job.store(1);
    store->set("there", bytes("1"));
    try {
        store->wait({"there", "absent"}, 20ms);
        ADD_FAILURE() << "no time-out";
    } catch (const c10::DistStoreError& error) {
        const std::string words = error.what_without_backtrace();
        EXPECT_NE(words.find("missing keys: absent"), std::string::npos) << words;
        EXPECT_NE(words.find("20 ms"), std::string::npos) << words;
        EXPECT_NE(words.find("rank 0 (muster://job/demo/rank-0)"), std::string::npos) << words;
    }
}

TEST(Store, whoever_is_not_the_rank_it_says_is_refused_on_both_sides) {
    Job job;
    auto stolen = job.membership(1);
    stolen.rank = 2;
    EXPECT_NE(job.refused(stolen).find("but showed that of muster://job/demo/rank-1"), std::string::npos);
    EXPECT_TRUE(job.logged("but showed that of muster://job/demo/rank-1"));

    auto stale = job.membership(1);
    stale.generation = 2;
    EXPECT_NE(job.refused(stale).find("generation 2"), std::string::npos);

    auto early = job.membership(1);
    early.generation = 4;
    EXPECT_NE(job.refused(early, 100ms).find("has not begun generation 4 yet"), std::string::npos);

    auto other = job.membership(1);
    other.job = "other";
    EXPECT_NE(job.refused(other).find("belongs to job 'other'"), std::string::npos);

    auto beyond = job.membership(1);
    beyond.rank = 7;
    EXPECT_NE(job.refused(beyond).find("rank '7' of 3"), std::string::npos);
    EXPECT_EQ(job.store(1)->add("still", 1), 1);
}

TEST(Store, wrong_and_expired_certificates_are_named) {
    Job job;
    const auto strangers = make_authority();
    auto foreign = job.membership(1);
    foreign.credentials = Job::credentials(job.identities_[1], strangers);
    EXPECT_NE(job.refused(foreign).find("CA"), std::string::npos) << job.refused(foreign);

    auto deceived = job.membership(1);
    deceived.credentials.own = Job::credentials(job.identities_[1], strangers).own; // trusts the right CA
    const auto words = job.refused(deceived);
    EXPECT_NE(words, "admitted");
    EXPECT_TRUE(job.logged("CA"));

    auto expired = job.membership(2);
    expired.credentials = Job::credentials(job.identities_[2], job.authority_, -60s);
    EXPECT_NE(job.refused(expired), "admitted");
    EXPECT_TRUE(job.logged("expired"));
}

TEST(Store, a_rank_0_that_is_somebody_else_is_not_trusted) {
    Job job;
    auto waiting = job.membership(1);
    std::swap(waiting.identities[0], waiting.identities[2]);
    EXPECT_NE(job.refused(waiting).find("showed the certificate of muster://job/demo/rank-0"), std::string::npos);
}

TEST(Store, plain_text_gets_no_answer_and_costs_no_more_than_itself) {
    Job job;
    const auto dialer = collective::tcp_dialer();
    auto socket = dialer->dial(job.address_, Deadline::after(5s)).value();
    const std::string text = "SET key value\r\n";
    ASSERT_EQ(::send(socket.get(), text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
    EXPECT_TRUE(job.logged("127.0.0.1"));
    EXPECT_EQ(job.store(1)->add("still", 1), 1);
}

TEST(Store, a_store_that_ends_is_reported_and_one_that_comes_late_is_awaited) {
    Job job;
    auto store = job.store(1, 2s);
    job.server_.reset();
    EXPECT_THROW(store->add("n", 1), c10::DistStoreError);
    EXPECT_THROW(store->add("n", 1), c10::DistStoreError);
    EXPECT_NE(job.refused(job.membership(2), 100ms).find("was not reached"), std::string::npos);

    std::jthread late{[&] { EXPECT_EQ(job.store(1)->add("n", 1), 1); }};
    const auto port = std::stoi(job.address_.substr(job.address_.rfind(':') + 1));
    auto listener = listen_on("127.0.0.1", port).value();
    job.server_ = StoreServer::start(job.membership(0), std::move(listener.fd)).value();
}

TEST(Meeting, ranks_that_know_rank_0_become_a_group) {
    Job job;
    std::vector<std::jthread> ranks;
    for (int rank = 0; rank < 3; ++rank) {
        ranks.emplace_back([&job, rank] {
            auto store = job.store(rank);
            auto group =
                meet(*store, store->membership(), store->session(), store->own_host(), 10s, {}, Deadline::after(20s));
            ASSERT_TRUE(group.ok()) << group.error().text();
            float value = 1;
            (*group)->all_reduce(
                std::as_writable_bytes(std::span{&value, 1}), collective::ElementType::f32, collective::ReduceOp::sum);
            EXPECT_EQ(value, 3);
        });
    }
}

TEST(Meeting, a_host_that_is_not_this_machine_is_refused) {
    EXPECT_NE(listen_on("192.0.2.1", 0).error().message.find("192.0.2.1"), std::string::npos);
    EXPECT_NE(listen_on("no such host", 0).error().message.find("no such host"), std::string::npos);
}

} // namespace
} // namespace muster::process_group
