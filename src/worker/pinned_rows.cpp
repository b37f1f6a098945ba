#include "worker/pinned_rows.h"

#include "base/assert.h"
#include "worker/split_mix.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <numeric>

namespace muster::worker {
namespace {

__extension__ using Wide = __int128; // rows times batches may pass 64 bits

} // namespace

PinnedRows::PinnedRows(std::vector<std::int64_t> rows, std::int64_t batch)
    : rows_{std::move(rows)}, batch_{batch}, total_{std::accumulate(rows_.begin(), rows_.end(), std::int64_t{0})},
      batches_{batches_per_epoch(total_, batch)} {}

Interval PinnedRows::piece(std::size_t rank, std::int64_t index) const {
    MUSTER_ASSERT(index >= 0 && index < batches_);
    const auto cut = [&](std::int64_t batches) {
        return static_cast<std::int64_t>(static_cast<Wide>(rows_.at(rank)) * batches / batches_);
    };
    return {cut(index), cut(index + 1)};
}

std::int64_t PinnedRows::batch_rows(std::int64_t index) const {
    return place(rows_.size(), index);
}

std::int64_t PinnedRows::place(std::size_t rank, std::int64_t index) const {
    std::int64_t before = 0;
    for (std::size_t other = 0; other < rank; ++other) {
        before += piece(other, index).size();
    }
    return before;
}

std::int64_t PinnedRows::piece_rows_max(std::size_t rank) const {
    return (rows_.at(rank) + batches_ - 1) / batches_;
}

Result<void> PinnedRows::check(std::span<const std::int64_t> shares) const {
    for (std::size_t rank = 0; rank < rows_.size(); ++rank) {
        if (rows_[rank] < batches_) {
            return Error{ErrorCode::invalid_argument,
                         fmt::format("member {} has {} training rows for {} batches of an epoch; a batch of {} rows is "
                                     "too small",
                                     rank,
                                     rows_[rank],
                                     batches_,
                                     batch_)};
        }
        const Wide off = static_cast<Wide>(shares[rank]) * total_ - static_cast<Wide>(rows_[rank]) * batch_;
        if (off >= total_ || -off >= total_) { // a row or more
            return Error{ErrorCode::invalid_argument,
                         fmt::format("the plan gives member {} {} of {} rows of a batch, but it owns {} of {} rows",
                                     rank,
                                     shares[rank],
                                     batch_,
                                     rows_[rank],
                                     total_)};
        }
    }
    return {};
}

std::uint64_t seed_of_member(std::uint64_t seed, std::size_t rank) {
    SplitMix mix{seed};
    SplitMix mixed{mix.next() ^ ((static_cast<std::uint64_t>(rank) + 1) * 0x9E3779B97F4A7C15U)};
    return mixed.next();
}

} // namespace muster::worker
