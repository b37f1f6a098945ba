/// Lane: waiting, reading and writing.
#include "collective/lane.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

namespace muster::collective {
namespace {

/// Read from one peer before the next one has its turn.
constexpr std::size_t read_budget = 256U << 10U;
constexpr int drained_reads_max = 64;

} // namespace

Lane::Lane(std::vector<std::unique_ptr<Connection>> connections,
           std::size_t frame_payload_max,
           std::function<void()> on_done)
    : frame_payload_max_{frame_payload_max}, on_done_{std::move(on_done)}, wake_{::eventfd(0,
                                                                                           EFD_CLOEXEC | EFD_NONBLOCK)},
      waste_(frame_payload_max) {
    if (!wake_.valid()) {
        throw std::system_error{errno, std::generic_category(), "eventfd"};
    }
    peers_.resize(connections.size());
    for (std::size_t peer = 0; peer < connections.size(); ++peer) {
        if (connections[peer] != nullptr) {
            peers_[peer].link =
                std::make_unique<Link>(static_cast<int>(peer), std::move(connections[peer]), frame_payload_max_);
        }
    }
}

Lane::~Lane() {
    for (auto& peer : peers_) {
        if (peer.link == nullptr) {
            continue;
        }
        if (!torn_down_ && !peer.link->ended()) {
            peer.link->write_out();
            peer.link->finish();
        }
        // Unread bytes would turn the end of the connection into a reset.
        for (int i = 0; i < drained_reads_max && peer.link->connection().read(waste_).status == IoStatus::done; ++i) {
        }
    }
}

Duration Lane::turn(SteadyTime until, std::uint64_t seen) {
    std::unique_lock lock{mutex_};
    if (changes() != seen || torn_down_) {
        return {};
    }
    if (polling_) {
        const auto before = std::chrono::steady_clock::now();
        changed_.wait_until(lock, until, [&] { return changes() != seen || !polling_; });
        return std::chrono::steady_clock::now() - before;
    }
    polling_ = true;
    try {
        const auto waited = poll_and_move(lock, until);
        stop_polling();
        return waited;
    } catch (...) { // Whoever waits for this thread must not wait for ever.
        stop_polling();
        throw;
    }
}

void Lane::stop_polling() {
    polling_ = false;
    changed();
}

void Lane::wake() {
    const std::scoped_lock lock{mutex_};
    changes_.fetch_add(1, std::memory_order_acq_rel);
    changed_.notify_all();
    interrupt_poll();
}

void Lane::interrupt_poll() {
    if (in_poll_) {
        const std::uint64_t one = 1;
        // The counter cannot overflow: whoever polls reads it.
        (void)!::write(wake_.get(), &one, sizeof one);
    }
}

void Lane::look_for_trouble() {
    const bool trouble =
        std::ranges::any_of(peers_, [](const Peer& peer) { return peer.link != nullptr && peer.link->ended(); });
    if (trouble) {
        troubled_.store(true, std::memory_order_release);
    }
}

void Lane::changed() {
    changes_.fetch_add(1, std::memory_order_acq_rel);
    changed_.notify_all();
    if (on_done_) {
        on_done_();
    }
}

Duration Lane::poll_and_move(std::unique_lock<std::mutex>& lock, SteadyTime until) {
    poll_entries_.clear();
    bool at_once = false;
    for (const auto& peer : peers_) {
        const bool alive = peer.link != nullptr && !peer.link->ended();
        // A link that may not read must still write: its peer may be waiting for that before it reads itself.
        const int wanted =
            alive ? (peer.link->stalled() ? 0 : POLLIN | POLLRDHUP) | (peer.link->wants_write() ? POLLOUT : 0) : 0;
        at_once = at_once || (peer.link != nullptr && peer.link->may_have_more());
        poll_entries_.push_back({.fd = wanted != 0 ? peer.link->connection().fd() : -1,
                                 .events = static_cast<short>(wanted),
                                 .revents = 0});
    }
    poll_entries_.push_back({.fd = wake_.get(), .events = POLLIN, .revents = 0});
    in_poll_ = true;
    lock.unlock();
    const auto before = std::chrono::steady_clock::now();
    const int ready = ::poll(poll_entries_.data(), poll_entries_.size(), at_once ? 0 : Deadline{until}.left_ms());
    const int error = errno;
    const auto waited = std::chrono::steady_clock::now() - before;
    lock.lock();
    in_poll_ = false;
    if (ready < 0 && error != EINTR) {
        throw std::system_error{error, std::generic_category(), "poll"};
    }
    if (torn_down_) {
        return waited;
    }
    for (std::size_t i = 0; i < peers_.size(); ++i) {
        auto& peer = peers_[i];
        if (peer.link == nullptr || peer.link->ended()) {
            continue;
        }
        const auto events = ready > 0 ? poll_entries_[i].revents : short{0};
        const bool stalled = peer.link->stalled();
        // The end of a connection that may not be read is found by writing.
        peer.dirty = peer.dirty || (events & POLLOUT) != 0 || (stalled && events != 0);
        if (!stalled && ((events & ~POLLOUT) != 0 || peer.link->may_have_more())) {
            peer.link->read_in(*this, read_budget);
        }
    }
    if (poll_entries_.back().revents != 0) {
        std::uint64_t count = 0;
        (void)!::read(wake_.get(), &count, sizeof count);
    }
    flush();
    return waited;
}

/// Writes what is new. Reads, too, from a peer that takes no more: what it said before it went names the reason.
void Lane::flush() {
    bool again = true;
    while (again) {
        again = false;
        for (auto& peer : peers_) {
            if (!peer.dirty) {
                continue;
            }
            peer.dirty = false;
            auto& link = *peer.link;
            if (link.ended()) {
                continue;
            }
            link.write_out();
            if (!link.write_failure().empty()) {
                link.read_in(*this, SIZE_MAX);
                if (!link.stalled() && !link.left()) { // To one that has left in good order nothing needs saying.
                    link.set_broken(link.write_failure());
                }
                again = true;
            } else if (link.wants_write()) {
                interrupt_poll(); // Whoever polls is to watch for room.
            }
        }
    }
    look_for_trouble();
}

void Lane::resume_stalled() {
    for (auto& peer : peers_) {
        if (peer.link != nullptr && peer.link->stalled() && !peer.link->ended()) {
            peer.link->read_in(*this, read_budget);
            interrupt_poll();
        }
    }
}

bool Lane::left(int peer) {
    const std::scoped_lock lock{mutex_};
    return link(peer).left();
}

std::optional<std::pair<int, std::string>> Lane::broken() {
    const std::scoped_lock lock{mutex_};
    for (const auto& peer : peers_) {
        if (peer.link != nullptr && !peer.link->broken().empty()) {
            return std::pair{peer.link->peer(), peer.link->broken()};
        }
    }
    return {};
}

SteadyTime Lane::last_received(int peer) {
    const std::scoped_lock lock{mutex_};
    return link(peer).connection().last_received();
}

const Connection* Lane::connection(int peer) const {
    const auto& found = peers_[static_cast<std::size_t>(peer)].link;
    return found == nullptr ? nullptr : &found->connection();
}

void Lane::tear_down(const FrameHeader& header, const std::vector<std::byte>& payload, Deadline until) {
    {
        const std::scoped_lock lock{mutex_};
        if (std::exchange(torn_down_, true)) {
            return;
        }
        for (auto& [channel, box] : boxes_) {
            forget(box);
        }
        for (auto& peer : peers_) {
            if (peer.link == nullptr) {
                continue;
            }
            peer.link->drop_all(waste_);
            if (!peer.link->ended()) {
                peer.link->push_owned(header, payload);
                peer.link->write_out();
            }
            peer.link->finish_unless_it_wants_write();
        }
    }
    wake();
    while (say_last_words(until)) {
    }
}

/// Some peer has not read what it was sent before: the reason waits behind that. What it sends meanwhile is thrown
/// away, or both would wait for each other. False when there is nothing left to do.
bool Lane::say_last_words(Deadline until) {
    std::vector<pollfd> entries;
    std::vector<Link*> links;
    {
        const std::scoped_lock lock{mutex_};
        for (auto& peer : peers_) {
            if (peer.link != nullptr && peer.link->wants_write()) {
                entries.push_back({.fd = peer.link->connection().fd(), .events = POLLIN | POLLOUT, .revents = 0});
                links.push_back(peer.link.get());
            }
        }
    }
    const bool ready = !links.empty() && ::poll(entries.data(), entries.size(), until.left_ms()) > 0;
    const std::scoped_lock lock{mutex_};
    for (std::size_t i = 0; i < links.size(); ++i) {
        auto& link = *links[i];
        auto read = IoStatus::want_read;
        if (ready && (entries[i].revents & ~POLLOUT) != 0) {
            read = link.connection().read(waste_).status;
        }
        const bool gone = read != IoStatus::done && read != IoStatus::want_read && read != IoStatus::want_write;
        if (gone || until.passed()) {
            link.set_broken("the peer took no more");
        }
        link.write_out();
        link.finish_unless_it_wants_write();
    }
    return !links.empty() && !until.passed();
}

} // namespace muster::collective
