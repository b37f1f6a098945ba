/// Mesh: what all groups of a job's generation share on one rank: the lanes, who is who, and whether it has failed.
#pragma once

#include "base/clock.h"
#include "collective/group.h"
#include "collective/join.h"
#include "collective/lane.h"

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace muster::collective {

/// Size >= 2. Any thread.
class Mesh {
public:
    /// `spec` gives names, rank, sizes and the operations' deadline.
    Mesh(const GroupSpec& spec, Edges edges);
    ~Mesh();
    Mesh(const Mesh&) = delete;
    Mesh& operator=(const Mesh&) = delete;

    [[nodiscard]] int rank() const { return rank_; }
    [[nodiscard]] int size() const { return static_cast<int>(members_.size()); }
    /// Returns "rank 2 (SubNetwork=1,...)".
    [[nodiscard]] std::string name(int rank) const;
    /// Lane 0 is moved by the threads that wait; each other one by a thread of its own.
    [[nodiscard]] Lane& lane(int index) { return *lanes_[static_cast<std::size_t>(index)]; }
    [[nodiscard]] int lanes() const { return static_cast<int>(lanes_.size()); }
    [[nodiscard]] Duration operation_timeout() const { return operation_timeout_; }
    [[nodiscard]] std::size_t segment_bytes() const { return segment_bytes_; }
    [[nodiscard]] const Tuning& tuning() const { return tuning_; }

    /// Ends everything; the first failure is the one that counts. Returns that.
    Failure fail(Failure failure);
    [[nodiscard]] std::optional<Failure> failure() const;
    [[nodiscard]] bool failed() const { return failed_.load(std::memory_order_acquire); }

    void add_wait(int peer, Duration duration);
    [[nodiscard]] GroupTraffic traffic() const;
    [[nodiscard]] std::vector<EdgeMetrics> edges() const;

private:
    const int rank_;
    const std::vector<Member> members_;
    const Duration operation_timeout_;
    const std::size_t segment_bytes_;
    const Tuning tuning_;
    std::vector<std::string> addresses_{};
    std::vector<std::unique_ptr<Lane>> lanes_{};
    std::vector<std::atomic<std::int64_t>> wait_ns_;
    std::atomic<bool> failed_{false};
    mutable std::mutex mutex_;
    std::optional<Failure> failure_{}; ///< under mutex_
    std::vector<std::jthread> movers_{};
};

} // namespace muster::collective
