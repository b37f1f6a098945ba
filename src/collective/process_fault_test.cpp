/// Ranks as processes that are killed, stopped and cut off at random points of random operations.
///
/// MUSTER_FAULT_ROUNDS says how often, 20 unless told; MUSTER_FAULT_FIRST from which seed on, 1 unless told.
#include "collective/group_fixture.h"
#include "collective/random_work.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <random>

namespace muster::collective {
namespace {

using std::chrono::milliseconds;
using test::Town;

constexpr int ranks_max = 4;
/// Of the ranks' operations; a fault without a word is found out then.
constexpr auto silence_max = milliseconds{1500};
/// What a survivor may need beyond that: the machine may be crowded.
constexpr auto slack = std::chrono::seconds{5};
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr long rss_growth_max_kb = 4 << 20; // The sanitizers keep what was freed.
#else
constexpr long rss_growth_max_kb = 8 << 10;
#endif

enum class Fault { kill, stop, cut };

struct Order {
    int size{};
    int generation{};
    unsigned seed{};
};

/// From a rank to the director. `connected` comes first, then the outcome.
struct Report {
    bool connected{false};
    bool failed{false};
    int culprit{-1};
    long fds{};
    long threads{};
    long rss_kb{};
    std::array<char, 1500> text{};
};

long entries_of(const char* folder) {
    const std::filesystem::directory_iterator entries{folder};
    return std::distance(begin(entries), end(entries));
}

long rss_kb() {
    std::ifstream status{"/proc/self/status"};
    std::string word;
    while (status >> word) {
        if (word == "VmRSS:") {
            long value = 0;
            status >> value;
            return value;
        }
    }
    return 0;
}

template <typename Message>
bool read_whole(int fd, Message& message, Duration wait) {
    const auto deadline = Deadline::after(wait);
    std::size_t done = 0;
    while (done < sizeof message) {
        pollfd entry{.fd = fd, .events = POLLIN, .revents = 0};
        if (::poll(&entry, 1, deadline.left_ms()) <= 0) {
            return false;
        }
        const auto count = ::read(fd, reinterpret_cast<char*>(&message) + done, sizeof message - done);
        if (count <= 0) {
            return false;
        }
        done += static_cast<std::size_t>(count);
    }
    return true;
}

template <typename Message>
bool write_whole(int fd, const Message& message) {
    return ::write(fd, &message, sizeof message) == static_cast<ssize_t>(sizeof message);
}

/// Each rank has an address of its own on loopback, which its connections bear at both ends.
std::string host_of(int rank) {
    return fmt::format("127.0.0.{}", rank + 1);
}

sockaddr_in socket_address(int rank, int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    (void)::inet_pton(AF_INET, host_of(rank).c_str(), &address.sin_addr);
    return address;
}

class BoundDialer final : public Dialer {
public:
    explicit BoundDialer(int rank) : rank_{rank} {}
    Result<UniqueFd> dial(const std::string& address, Deadline deadline) override {
        UniqueFd socket{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
        const auto own = socket_address(rank_, 0);
        const int last = address[address.rfind(':') - 1] - '1';
        const auto peer = socket_address(last, std::stoi(address.substr(address.rfind(':') + 1)));
        const timeval wait{.tv_sec = 0, .tv_usec = std::clamp(deadline.left_ms(), 1, 900) * 1000};
        (void)::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
        if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&own), sizeof own) != 0 ||
            ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&peer), sizeof peer) != 0) {
            return Error{ErrorCode::unavailable, std::generic_category().message(errno)};
        }
        return socket;
    }

private:
    int rank_;
};

/// What a rank's process does for ever: joins, works until something fails, says what.
class RankProcess {
public:
    RankProcess(int rank, Town& town, int orders, int reports)
        : rank_{rank}, town_{town}, orders_{orders}, reports_{reports} {}

    void run() {
        Order order;
        while (read_whole(orders_, order, std::chrono::hours{24})) {
            auto report = obey(order);
            report.fds = entries_of("/proc/self/fd");
            report.threads = entries_of("/proc/self/task");
            report.rss_kb = rss_kb();
            if (!write_whole(reports_, report)) {
                return;
            }
        }
    }

private:
    Report obey(const Order& order) {
        Report report;
        const auto fail = [&](const std::string& text, int culprit) {
            report.failed = true;
            report.culprit = culprit;
            text.copy(report.text.data(), report.text.size() - 1);
        };
        auto spec = town_.spec(rank_);
        spec.members.resize(static_cast<std::size_t>(order.size));
        spec.generation = order.generation;
        spec.operation_timeout = silence_max;
        BoundDialer dialer{rank_};
        auto group = Group::connect(spec, town_.listener(rank_), dialer, Deadline::after(test::patience));
        if (!group) {
            fail("connect: " + group.error().text(), -1);
            return report;
        }
        Report connected;
        connected.connected = true;
        (void)write_whole(reports_, connected);
        try {
            for (test::RandomWork work{**group, order.seed};;) {
                work.step();
            }
        } catch (const GroupFailed& failure) {
            fail(failure.what(), failure.culprit());
            (*group)->abort(failure.what()); // When it was a sub-group that failed.
        }
        return report;
    }

    int rank_;
    Town& town_;
    int orders_;
    int reports_;
};

/// The process of a rank, as the director sees it.
struct Slot {
    pid_t pid{-1};
    UniqueFd orders{};
    UniqueFd reports{};
    bool fresh{true};
    Report first{}; ///< what the process looked like after its first rounds
    int rounds{0};
};

/// Starts the ranks and strikes them. Has one thread, so that it may fork. Its words go to stdout.
class Director {
public:
    Director() {
        cuts_ = make_namespace();
        for (int rank = 0; rank < ranks_max; ++rank) {
            Town::credentials_of(rank);
            UniqueFd fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
            auto address = socket_address(rank, 0);
            socklen_t size = sizeof address;
            if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(fd.get(), 128) != 0 ||
                ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) {
                throw std::system_error{errno, std::generic_category(), "listen on " + host_of(rank)};
            }
            town_.listeners.push_back({std::move(fd), fmt::format("{}:{}", host_of(rank), ntohs(address.sin_port))});
            town_.members.push_back(
                {fmt::format("gnb-{}", rank), test::identity_of(rank), {town_.listeners.back().address}});
        }
    }
    ~Director() {
        for (auto& slot : slots_) {
            end(slot);
        }
    }
    Director(const Director&) = delete;
    Director& operator=(const Director&) = delete;

    [[nodiscard]] bool cuts() const { return cuts_; }

    /// Returns what went wrong.
    std::string round(unsigned seed) {
        std::mt19937 random{seed};
        const int size = 3 + static_cast<int>(random() % 2);
        const auto fault = random() % 2 == 0 ? Fault::kill : cuts_ && random() % 2 == 0 ? Fault::cut : Fault::stop;
        // Rank 0 is never killed: it lives through all rounds and must not grow.
        const int lowest = fault == Fault::kill ? 1 : 0;
        const int victim = lowest + static_cast<int>(random() % static_cast<unsigned>(size - lowest));
        const milliseconds delay{random() % 60};
        const auto text = play(size, fault, victim, delay, seed);
        return text.empty()
                   ? ""
                   : fmt::format("seed {}, {} ranks, {} of rank {}: {}\n", seed, size, name(fault), victim, text);
    }
    /// Says what has grown in the processes since their first rounds.
    std::string growth() {
        const auto& slot = slots_[0];
        const auto& last = reports_[0];
        std::string text;
        if (slot.rounds > 8 && last.fds > slot.first.fds) {
            text += fmt::format("rank 0 has {} descriptors, first {}\n", last.fds, slot.first.fds);
        }
        if (slot.rounds > 8 && last.threads > slot.first.threads) {
            text += fmt::format("rank 0 has {} threads, first {}\n", last.threads, slot.first.threads);
        }
        if (slot.rounds > 8 && last.rss_kb > slot.first.rss_kb + rss_growth_max_kb) {
            text += fmt::format("rank 0 has {} KiB, first {}\n", last.rss_kb, slot.first.rss_kb);
        }
        std::printf("rank 0 after %d rounds: %ld descriptors, %ld threads, %ld KiB (first: %ld, %ld, %ld)\n",
                    slot.rounds,
                    last.fds,
                    last.threads,
                    last.rss_kb,
                    slot.first.fds,
                    slot.first.threads,
                    slot.first.rss_kb);
        return text;
    }

private:
    static const char* name(Fault fault) {
        return fault == Fault::kill ? "kill -9" : fault == Fault::stop ? "SIGSTOP" : "link cut";
    }

    /// A network of our own, where links can be cut. False where that is not allowed.
    static bool make_namespace() {
        const auto uid = ::getuid();
        if (::unshare(CLONE_NEWNET) != 0) {
            if (::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) {
                return false;
            }
            std::ofstream{"/proc/self/setgroups"} << "deny";
            std::ofstream{"/proc/self/uid_map"} << fmt::format("0 {} 1", uid);
        }
        // The rule of the local addresses makes room for others before it.
        return command("ip link set lo up") && command("ip rule add pref 100 lookup local") &&
               command("ip rule del pref 0");
    }
    static bool command(const std::string& line) { return std::system((line + " 2>/dev/null").c_str()) == 0; }
    static bool cut(int victim, bool on) {
        const auto verb = on ? "add" : "del";
        return command(fmt::format("ip rule {} pref 10 from {} blackhole", verb, host_of(victim))) &&
               command(fmt::format("ip rule {} pref 11 to {} blackhole", verb, host_of(victim)));
    }

    void start(int rank) {
        std::array<int, 2> orders{};
        std::array<int, 2> reports{};
        if (::pipe2(orders.data(), O_CLOEXEC) != 0 || ::pipe2(reports.data(), O_CLOEXEC) != 0) {
            throw std::system_error{errno, std::generic_category(), "pipe"};
        }
        std::fflush(stdout);
        const auto pid = ::fork();
        if (pid == 0) {
            slots_ = {};
            (void)::close(orders[1]);
            (void)::close(reports[0]);
            RankProcess{rank, town_, orders[0], reports[1]}.run();
            ::_exit(0);
        }
        (void)::close(orders[0]);
        (void)::close(reports[1]);
        slots_[static_cast<std::size_t>(rank)] = Slot{pid, UniqueFd{orders[1]}, UniqueFd{reports[0]}};
    }
    static void end(Slot& slot) {
        if (slot.pid > 0) {
            (void)::kill(slot.pid, SIGKILL);
            (void)::waitpid(slot.pid, nullptr, 0);
        }
        slot = {};
    }

    std::string play(int size, Fault fault, int victim, Duration delay, unsigned seed) {
        ++generation_;
        for (int rank = 0; rank < size; ++rank) {
            if (slots_[static_cast<std::size_t>(rank)].pid < 0) {
                start(rank);
            }
            (void)write_whole(slots_[static_cast<std::size_t>(rank)].orders.get(), Order{size, generation_, seed});
        }
        for (int rank = 0; rank < size; ++rank) {
            Report report;
            if (!hear(rank, report, 2 * test::patience) || !report.connected) {
                return give_up(size, fmt::format("rank {} did not connect: {}", rank, report.text.data()));
            }
        }
        (void)::poll(nullptr, 0, static_cast<int>(std::chrono::duration_cast<milliseconds>(delay).count()));
        auto& struck = slots_[static_cast<std::size_t>(victim)];
        if (fault == Fault::cut ? !cut(victim, true)
                                : ::kill(struck.pid, fault == Fault::kill ? SIGKILL : SIGSTOP) != 0) {
            return give_up(size, "the fault could not be made");
        }
        std::string wrong;
        for (int rank = 0; rank < size; ++rank) {
            if (rank != victim) {
                wrong += judge_survivor(rank, victim);
            }
        }
        wrong += settle(fault, victim);
        return wrong.empty() ? "" : give_up(size, wrong);
    }

    bool hear(int rank, Report& report, Duration wait) {
        return read_whole(slots_[static_cast<std::size_t>(rank)].reports.get(), report, wait);
    }

    std::string judge_survivor(int rank, int victim) {
        Report report;
        if (!hear(rank, report, silence_max + slack)) {
            return fmt::format("rank {} has not returned; ", rank);
        }
        note(rank, report);
        const std::string text{report.text.data()};
        const auto culprit = fmt::format("rank {} (gnb-{})", victim, victim);
        // Of a sub-group's failure the others hear by the abort of a rank that was in it.
        const auto at = text.find(" aborted the group: ");
        const auto story = at == std::string::npos ? text : text.substr(at + 20);
        const bool named =
            report.failed && (story.starts_with(culprit) || story.find(": " + culprit) != std::string::npos);
        return named ? "" : fmt::format("rank {} says {}: {}; ", rank, report.culprit, text);
    }

    void note(int rank, const Report& report) {
        auto& slot = slots_[static_cast<std::size_t>(rank)];
        reports_[static_cast<std::size_t>(rank)] = report;
        if (++slot.rounds <= 8) {
            slot.first = report;
        }
    }

    std::string settle(Fault fault, int victim) {
        auto& struck = slots_[static_cast<std::size_t>(victim)];
        if (fault == Fault::kill) {
            end(struck);
            return "";
        }
        if (fault == Fault::cut ? false : ::kill(struck.pid, SIGCONT) != 0) {
            return "the stopped rank is gone";
        }
        Report report;
        const bool spoke = hear(victim, report, silence_max + slack);
        if (fault == Fault::cut && !cut(victim, false)) {
            return "the link could not be mended";
        }
        if (!spoke || !report.failed) {
            return fmt::format("the victim, rank {}, noticed nothing", victim);
        }
        note(victim, report);
        return "";
    }

    /// The next round starts with new processes.
    std::string give_up(int size, std::string text) {
        for (int rank = 0; rank < size; ++rank) {
            end(slots_[static_cast<std::size_t>(rank)]);
        }
        return text;
    }

    bool cuts_{false};
    Town town_{0};
    std::array<Slot, ranks_max> slots_{};
    std::array<Report, ranks_max> reports_{};
    int generation_{0};
};

unsigned told(const char* name, unsigned otherwise) {
    const char* value = std::getenv(name);
    return value == nullptr ? otherwise : static_cast<unsigned>(std::stoul(value));
}

int direct(unsigned first, unsigned rounds) {
    Director director;
    if (!director.cuts()) {
        std::printf("NOTE: no network namespace may be made here: links are not cut, ranks are stopped instead\n");
    }
    std::string wrong;
    for (unsigned seed = first; seed < first + rounds && wrong.size() < 4000; ++seed) {
        wrong += director.round(seed);
    }
    wrong += director.growth();
    std::printf("%s", wrong.c_str());
    std::fflush(stdout);
    return wrong.empty() ? 0 : 1;
}

TEST(Processes, survivors_name_who_was_killed_or_stopped_or_cut_off_at_random_points) {
    const unsigned first = told("MUSTER_FAULT_FIRST", 1);
    const unsigned rounds = told("MUSTER_FAULT_ROUNDS", 20);
    std::fflush(stdout);
    const auto director = ::fork();
    if (director == 0) {
        int status = 2;
        try {
            status = direct(first, rounds);
        } catch (const std::exception& problem) { // The boundary of the process.
            std::printf("director: %s\n", problem.what());
            std::fflush(stdout);
        }
        ::_exit(status);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(director, &status, 0), director);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "what went wrong stands above";
}

} // namespace
} // namespace muster::collective
