/// Layout "pinned" (ARCHITECTURE.md, data layouts): how rows that stay with their members make batches. No torch.
#pragma once

#include "base/result.h"
#include "worker/sampler.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace muster::worker {

/// An epoch of rows that members own. It has as many batches as if one member owned all rows, and each member's rows
/// are divided evenly over them: each row is in one batch, and a member has the same part of every batch, which is its
/// part of all rows. A batch is a little smaller than the global one where that does not divide the rows. Immutable.
class PinnedRows {
public:
    /// `rows` are the training rows of each member, their sum and `batch` above 0.
    PinnedRows(std::vector<std::int64_t> rows, std::int64_t batch);

    [[nodiscard]] std::int64_t total() const { return total_; }
    [[nodiscard]] std::int64_t batches() const { return batches_; }
    /// Positions of a member's own rows, in the order of an epoch, that are in batch `index`.
    [[nodiscard]] Interval piece(std::size_t rank, std::int64_t index) const;
    /// Rows of batch `index` over all members.
    [[nodiscard]] std::int64_t batch_rows(std::int64_t index) const;
    /// The place of a member's first row within batch `index`: those of the ranks before come first.
    [[nodiscard]] std::int64_t place(std::size_t rank, std::int64_t index) const;
    /// The most rows that a member has in a batch.
    [[nodiscard]] std::int64_t piece_rows_max(std::size_t rank) const;

    /// Errors: invalid_argument, when a member has fewer rows than there are batches, or `shares`, the rows of each in
    /// a full batch by the plan, are not in proportion to its rows.
    [[nodiscard]] Result<void> check(std::span<const std::int64_t> shares) const;

private:
    std::vector<std::int64_t> rows_;
    std::int64_t batch_;
    std::int64_t total_;
    std::int64_t batches_;
};

/// The seed of a member's own order, so that members with equally many rows do not go through them alike.
[[nodiscard]] std::uint64_t seed_of_member(std::uint64_t seed, std::size_t rank);

} // namespace muster::worker
