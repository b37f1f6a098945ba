/// Channel: one group on one rank: its ranks, its calls, who has failed in it, and how every rank learns that.
#pragma once

#include "base/clock.h"
#include "collective/group.h"
#include "collective/mesh.h"

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace muster::collective {

/// How long something was waited for, and what the others were told about it.
struct Patience {
    Call call{};
    SteadyTime began{};
    /// When nothing has moved until then, somebody is silent.
    SteadyTime silent_at{};
    /// May not be moved on by progress.
    bool fixed{false};
    SteadyTime announce_at{};
    bool announced{false};
    std::uint64_t moved{0};
};

/// begin(), end() and what lies between: one thread at a time. Transfers and abort(): any thread. Ranks are numbers
/// of this group; in texts and on the wire, of the mesh.
class Channel {
public:
    /// `id` 0: the group of all ranks, whose end is the mesh's end. `ranks`: of the mesh.
    Channel(std::shared_ptr<Mesh> mesh, std::uint64_t id, std::vector<int> ranks);
    ~Channel();
    Channel(const Channel&) = delete;
    Channel& operator=(const Channel&) = delete;

    [[nodiscard]] int rank() const { return rank_; }
    [[nodiscard]] int size() const { return static_cast<int>(ranks_.size()); }
    [[nodiscard]] int next() const { return (rank_ + 1) % size(); }
    [[nodiscard]] int previous() const { return (rank_ + size() - 1) % size(); }
    [[nodiscard]] Mesh& mesh() { return *mesh_; }
    [[nodiscard]] const Mesh& mesh() const { return *mesh_; }
    [[nodiscard]] const std::shared_ptr<Mesh>& shared_mesh() const { return mesh_; }
    [[nodiscard]] std::uint64_t id() const { return id_; }
    [[nodiscard]] const std::vector<int>& ranks() const { return ranks_; }

    /// Opens the next collective; its sequence number is added. It fails when nothing of it moves for the mesh's
    /// operation_timeout, or at `deadline`, if given. Throws GroupFailed when the group is dead.
    void begin(Call call, std::optional<Deadline> deadline);
    /// Closes it. Throws GroupFailed when the group failed meanwhile.
    void end();
    void send(Sending& sending, int to, Step step, std::span<const std::byte> payload);
    /// Only once `to` has called grant_call().
    void send_granted(Sending& sending, int to, Step step, std::span<const std::byte> payload, int lane);
    void receive(Receiving& receiving, int from, Step step, std::span<std::byte> place, int lane = 0);
    void grant_call(int from);
    /// Waits for a message of this call.
    void wait(const Sending& sending, int to);
    void wait(const Receiving& receiving, int from);
    /// Waits for whatever `done` looks at, which is mostly up to `target`.
    void wait(int target, const std::function<bool()>& done);

    // Point to point.
    void send_transfer(Sending& sending, int to, std::uint64_t tag, std::span<const std::byte> payload);
    void receive_transfer(Receiving& receiving, int from, std::uint64_t tag, std::span<std::byte> place);
    [[nodiscard]] Patience patience_for(const Call& call);
    void wait(const Sending& sending, int to, Patience& patience);
    void wait(const Receiving& receiving, int from, Patience& patience);
    /// Moves what can be moved now.
    void nudge(const Patience& patience);

    /// As Group::abort.
    void abort(const std::string& reason);
    /// Ends the group because this rank's operation was left in the middle. Never throws.
    void abandon() noexcept;
    /// The group's number of a rank of the mesh, or -1.
    [[nodiscard]] int number_of(int mesh_rank) const;

private:
    void wait_until(Patience& patience, int target, const std::function<bool()>& done);
    void look_at_the_clock(Patience& patience, int target);
    void judge(const Call& call);
    void announce(const Patience& patience, int mesh_target);
    [[noreturn]] void lost(int mesh_rank, const std::string& how, const Call& call);
    [[noreturn]] void timed_out(const Patience& patience, int target);
    [[noreturn]] void clashed(const Clash& clash, const Call& call);
    [[noreturn]] void fail(Failure failure);
    Failure record(Failure failure, bool tells);
    [[nodiscard]] std::uint64_t moved();
    [[nodiscard]] std::optional<int> target_of(int peer);
    [[nodiscard]] int silent_one(int mesh_target);
    [[nodiscard]] int mesh_rank(int rank) const { return rank < 0 ? any_peer : ranks_[static_cast<std::size_t>(rank)]; }
    [[nodiscard]] Duration announce_after() const;

    std::shared_ptr<Mesh> mesh_;
    const std::uint64_t id_;
    const std::vector<int> ranks_;
    const int rank_;
    std::uint64_t sequence_{0};
    Patience current_{};
    std::atomic<bool> failed_{false};
    std::mutex mutex_;
    std::optional<Failure> failure_{}; ///< under mutex_
};

} // namespace muster::collective
