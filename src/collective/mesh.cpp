#include "collective/mesh.h"

#include "collective/address.h"
#include "collective/admission.h"

#include <algorithm>

namespace muster::collective {
namespace {

/// How long a mover waits before it looks whether it is to end; wake() makes it look at once.
constexpr Duration mover_wait = std::chrono::seconds{1};

/// How long a rank that fails tries to tell a peer that does not read. With the wait for the word of others it makes
/// less than the 100 ms within which all ranks must have ended.
constexpr Duration last_words_wait = std::chrono::milliseconds{40};

} // namespace

Mesh::Mesh(const GroupSpec& spec, Edges edges)
    : rank_{spec.rank}, members_{spec.members}, operation_timeout_{spec.operation_timeout},
      segment_bytes_{spec.segment_bytes}, tuning_{spec.tuning}, wait_ns_(spec.members.size()) {
    addresses_.resize(members_.size());
    for (std::size_t lane = 0; lane < static_cast<std::size_t>(spec.stripes); ++lane) {
        std::vector<std::unique_ptr<Connection>> connections(edges.size());
        for (std::size_t peer = 0; peer < edges.size(); ++peer) {
            if (lane < edges[peer].size()) {
                connections[peer] = std::move(edges[peer][lane]);
                addresses_[peer] = peer_address(connections[peer]->fd());
            }
        }
        // Whoever waits for a message of another lane waits in the first one.
        auto on_done = lane == 0 ? std::function<void()>{} : [this] { lanes_.front()->wake(); };
        lanes_.push_back(std::make_unique<Lane>(
            std::move(connections), std::max(segment_bytes_, eager_bytes_max), std::move(on_done)));
    }
    for (std::size_t lane = 1; lane < lanes_.size(); ++lane) {
        movers_.emplace_back([this, &moved = *lanes_[lane]](const std::stop_token& stop) {
            for (;;) {
                const auto seen = moved.changes(); // First: a wake() after the question must count.
                if (stop.stop_requested() || failed()) {
                    return;
                }
                moved.turn(std::chrono::steady_clock::now() + mover_wait, seen);
            }
        });
    }
}

Mesh::~Mesh() {
    for (auto& mover : movers_) {
        mover.request_stop();
    }
    for (std::size_t lane = 1; lane < lanes_.size(); ++lane) {
        lanes_[lane]->wake();
    }
    movers_.clear();
    // The first lane goes last: the others call it.
    while (!lanes_.empty()) {
        lanes_.pop_back();
    }
}

std::string Mesh::name(int rank) const {
    return name_of(members_, rank);
}

Failure Mesh::fail(Failure failure) {
    {
        const std::scoped_lock lock{mutex_};
        if (failure_) {
            return *failure_; // The first reason is the cause of the others.
        }
        failure_ = failure;
    }
    failed_.store(true, std::memory_order_release);
    const auto payload = encode(failure);
    const FrameHeader header{.kind = FrameKind::abort, .message_bytes = payload.size()};
    const auto until = Deadline::after(last_words_wait);
    for (auto& lane : lanes_) {
        lane->tear_down(header, payload, until);
    }
    return failure;
}

std::optional<Failure> Mesh::failure() const {
    const std::scoped_lock lock{mutex_};
    return failure_;
}

void Mesh::add_wait(int peer, Duration duration) {
    const auto place = static_cast<std::size_t>(peer < 0 ? rank_ : peer);
    wait_ns_[place].fetch_add(std::chrono::nanoseconds{duration}.count(), std::memory_order_relaxed);
}

std::vector<EdgeMetrics> Mesh::edges() const {
    std::vector<EdgeMetrics> all;
    for (int peer = 0; peer < size(); ++peer) {
        const auto* first = lanes_.front()->connection(peer);
        if (first == nullptr) {
            continue;
        }
        const auto place = static_cast<std::size_t>(peer);
        EdgeMetrics edge{.peer = peer,
                         .name = members_[place].name,
                         .address = addresses_[place],
                         .wait_seconds = static_cast<double>(wait_ns_[place].load(std::memory_order_relaxed)) * 1e-9,
                         .cipher = first->cipher(),
                         .certificate_expires = first->certificate_expires()};
        for (const auto& lane : lanes_) {
            const auto& counters = lane->connection(peer)->counters();
            edge.bytes_sent += counters.sent.load(std::memory_order_relaxed);
            edge.bytes_received += counters.received.load(std::memory_order_relaxed);
        }
        all.push_back(std::move(edge));
    }
    return all;
}

GroupTraffic Mesh::traffic() const {
    GroupTraffic sum;
    for (const auto& edge : edges()) {
        sum.bytes_sent += edge.bytes_sent;
        sum.bytes_received += edge.bytes_received;
        sum.cipher = edge.cipher;
    }
    for (const auto& wait : wait_ns_) {
        sum.wait_seconds += static_cast<double>(wait.load(std::memory_order_relaxed)) * 1e-9;
    }
    return sum;
}

} // namespace muster::collective
