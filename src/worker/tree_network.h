/// LightGBM's two collectives over a group of ours. No torch.
#pragma once

#include "collective/group.h"

#include <exception>

namespace muster::worker {

/// Throws std::runtime_error with LightGBM's own words when a call to it returned other than 0.
void check_lightgbm(int status);

/// Has LightGBM's lines of this thread written by base/log.h, as debug; before this thread's first call to it.
/// LightGBM would print them to stdout, which a worker in its box does not survive.
void take_lightgbm_log();

/// While it lives, what this thread calls in LightGBM computes with the group's other ranks. The calling thread's
/// alone: made and destroyed by one thread, one at a time in a thread; threads of one process may each have one. The
/// group outlives it.
class TreeNetwork {
public:
    /// null or a group of one rank: LightGBM computes alone. Throws std::logic_error when this thread has one already,
    /// std::runtime_error when several members cannot train here.
    explicit TreeNetwork(collective::Group* group);
    ~TreeNetwork();
    TreeNetwork(const TreeNetwork&) = delete;
    TreeNetwork& operator=(const TreeNetwork&) = delete;

    /// As check_lightgbm, but throws what the group threw inside of the call (GroupFailed), if it was that. What the
    /// call was to change is then half done and must be discarded.
    void check(int status);

    /// Whether this process may train with others: LightGBM 4.7.0 reads the number before an array where a leaf has no
    /// row on this rank (its issue 5222), and takes it for a number of rows. glibc's malloc keeps the upper half of a
    /// block's size there, which is 0; another allocator may not.
    [[nodiscard]] static bool can_train_together();

    [[nodiscard]] collective::Group& group() const { return *group_; }
    /// Keeps what the group threw: it may not be lost behind LightGBM's text for it.
    void keep(std::exception_ptr failure) { failure_ = std::move(failure); }

private:
    collective::Group* group_{}; ///< null: alone
    std::exception_ptr failure_{};
};

} // namespace muster::worker
