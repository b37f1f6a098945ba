/// Fuzzes everything that an admitted peer's bytes reach: Link and Lane over a connection in memory, while this rank
/// is in the middle of collectives, transfers and sub-groups. The first byte says what this rank does.
#include "collective/lane.h"

#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <deque>
#include <limits>

using namespace muster;
using namespace muster::collective;

namespace {

constexpr std::uint64_t part = 9; ///< a sub-group's channel

void demand(bool holds) {
    if (!holds) {
        std::abort();
    }
}

/// Gives the bytes in pieces of odd sizes, takes everything, and then ends in good order.
class Memory final : public Connection {
public:
    explicit Memory(std::span<const std::byte> bytes) : bytes_{bytes}, fd_{::eventfd(1, EFD_CLOEXEC)} {}

    IoResult read(std::span<std::byte> buffer) override {
        if (bytes_.empty()) {
            return {IoStatus::closed, 0};
        }
        const auto count = std::min({buffer.size(), bytes_.size(), 1 + (turn_++ * 37) % 5000});
        std::copy_n(bytes_.begin(), count, buffer.begin());
        bytes_ = bytes_.subspan(count);
        counters_.received.fetch_add(static_cast<std::int64_t>(count));
        return {IoStatus::done, count};
    }
    IoResult write(std::span<const std::byte> data) override {
        if (turn_++ % 7 == 3) {
            return {IoStatus::want_write, 0};
        }
        counters_.sent.fetch_add(static_cast<std::int64_t>(data.size()));
        return {IoStatus::done, std::min<std::size_t>(data.size(), 10'000)};
    }
    void finish() override {}
    void shut_down() const override {}
    std::string explain() override { return "ended"; }
    [[nodiscard]] int fd() const override { return fd_.get(); }
    [[nodiscard]] SteadyTime last_received() const override { return {}; }
    [[nodiscard]] std::string cipher() const override { return "none"; }
    [[nodiscard]] WallTime certificate_expires() const override { return WallTime::max(); }
    [[nodiscard]] const WireCounters& counters() const override { return counters_; }

private:
    std::span<const std::byte> bytes_;
    UniqueFd fd_;
    std::size_t turn_{0};
    WireCounters counters_{};
};

/// Rank 1 of two.
class Rank {
public:
    explicit Rank(std::span<const std::byte> bytes) : lane_{connections(bytes), eager_bytes_max, {}} {}

    void play(unsigned script) {
        const Call reduce{.collective = Collective::all_reduce,
                          .element = ElementType::f32,
                          .reduce = ReduceOp::sum,
                          .sequence = 1,
                          .bytes = 80'000};
        const Call barrier{.collective = Collective::barrier, .sequence = 2};
        lane_.begin_call(0, reduce);
        lane_.begin_call(part, {.collective = Collective::barrier, .sequence = 1});
        if ((script & 1U) != 0) {
            lane_.grant_call(0, 0, reduce);
        }
        receive(0, reduce, 0, 40'000);
        receive(0, reduce, 1, 100);
        receive(part, {.collective = Collective::barrier, .sequence = 1}, 0, 0);
        receive(0, {.collective = Collective::transfer, .sequence = 7}, 0, 50'000);
        receive(0, {.collective = Collective::transfer, .sequence = 8}, 0, 64, any_peer);
        send(0, reduce, 0, 40'000);
        send(part, {.collective = Collective::transfer, .sequence = 5}, 0, 20'000);
        move();
        if ((script & 2U) != 0) {
            receives_.clear(); // Lets go of what has not come.
            sends_.clear();
        }
        if ((script & 4U) != 0) {
            lane_.drop(part);
            lane_.close(part);
        }
        move();
        if ((script & 8U) != 0) {
            lane_.end_call(0);
            lane_.begin_call(0, barrier);
            receive(0, barrier, 0, 0);
        }
        move();
        if ((script & 16U) != 0) {
            lane_.tear_down({.kind = FrameKind::abort}, {}, Deadline::after({}));
        }
        receives_.clear();
        sends_.clear();
        (void)lane_.clash(0);
        (void)lane_.told(part);
        (void)lane_.waiting(0, 0);
    }

private:
    static std::vector<std::unique_ptr<Connection>> connections(std::span<const std::byte> bytes) {
        std::vector<std::unique_ptr<Connection>> all(2);
        all[0] = std::make_unique<Memory>(bytes);
        return all;
    }
    void receive(std::uint64_t channel, const Call& call, Step step, std::size_t bytes, int peer = 0) {
        places_.emplace_back(bytes);
        lane_.receive(receives_.emplace_back(), channel, peer, call, step, places_.back());
    }
    void send(std::uint64_t channel, const Call& call, Step step, std::size_t bytes) {
        places_.emplace_back(bytes);
        lane_.send(sends_.emplace_back(), channel, 0, call, step, places_.back());
    }
    void move() {
        for (int i = 0; i < 20; ++i) {
            (void)lane_.turn(std::chrono::steady_clock::now(), lane_.changes());
        }
        if (const auto broken = lane_.broken()) {
            demand(broken->first == 0 && !broken->second.empty());
        }
    }

    std::deque<std::vector<std::byte>> places_{};
    Lane lane_;
    std::deque<Receiving> receives_{};
    std::deque<Sending> sends_{};
};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto bytes = std::as_bytes(std::span{data, size});
    if (!bytes.empty()) {
        Rank{bytes.subspan(1)}.play(std::to_integer<unsigned>(bytes.front()));
    }
    return 0;
}
