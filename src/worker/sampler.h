/// Which rows are trained on, in which order, and by whom: pure functions of seed, epoch and shares.
///
/// Layout "whole" (ARCHITECTURE.md, data layouts): global batch k of epoch e is an interval of one permutation keyed
/// by (seed, e) and each member takes a part of it, so any number of members with any shares sees the same batches.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace muster::worker {

/// Row numbers of the matrix, each in exactly one of the two.
struct RowSplit {
    std::vector<std::int64_t> training;   ///< ascending
    std::vector<std::int64_t> validation; ///< ascending
};

/// A half-open interval of positions.
struct Interval {
    std::int64_t begin{};
    std::int64_t end{};

    [[nodiscard]] std::int64_t size() const { return end - begin; }
    bool operator==(const Interval&) const = default;
};

/// Splits rows 0 to `rows` - 1 at random, keyed by `seed`: floor(rows * validation) rows are kept for validation, at
/// least one when `validation` is above 0 and there are two rows.
[[nodiscard]] RowSplit split_rows(std::int64_t rows, double validation, std::uint64_t seed);

/// The same, but the last rows are kept, in the order of the source: what comes later is predicted from what was
/// before.
[[nodiscard]] RowSplit split_end(std::int64_t rows, double validation);

/// Cuts a text of `rows` tokens into samples of `sequence`; rows are the first ones of samples. The last
/// floor(rows * validation) tokens are for validation, at least one sample when `validation` is above 0 and there are
/// two. Training samples leave room to be moved by shift_of_epoch.
[[nodiscard]] RowSplit split_text(std::int64_t rows, std::int64_t sequence, double validation);

/// Splits the rows that end a window: of each series the last floor(its windows * validation) ones are for validation,
/// at least one when `validation` is above 0 and it has two. `targets` are those of all rows: finite where a row ends a
/// window of `window` rows, minus infinity at the first row of a series (api/matrix.md). A row with fewer before it
/// ends none, whatever its target.
[[nodiscard]] RowSplit split_windows(std::span<const float> targets, std::int64_t window, double validation);

/// The first rows of all samples of a text, one after the other.
[[nodiscard]] std::vector<std::int64_t> text_samples(std::int64_t rows, std::int64_t sequence);

/// By how many tokens the training samples of split_text are moved in an epoch, so that they do not begin at the same
/// places again and again; keyed by (seed, epoch) and nothing else. `split` is not empty.
[[nodiscard]] std::int64_t
shift_of_epoch(const RowSplit& split, std::int64_t rows, std::int64_t sequence, std::uint64_t seed, std::int64_t epoch);

/// Shuffles `rows` in place into the order of an epoch, keyed by (seed, epoch) and nothing else.
void shuffle_for_epoch(std::span<std::int64_t> rows, std::uint64_t seed, std::int64_t epoch);

/// Returns the number of global batches in an epoch; the last may be short. Both arguments are above 0.
[[nodiscard]] std::int64_t batches_per_epoch(std::int64_t rows, std::int64_t batch);

/// Returns the positions of global batch `index` within an epoch of `rows` positions.
[[nodiscard]] Interval global_batch(std::int64_t rows, std::int64_t batch, std::int64_t index);

/// Returns the part of `whole` that belongs to member `rank`, in proportion to `shares` (rows of a full batch, their
/// sum above 0). The parts of all ranks follow one another without gap; a full batch is cut exactly by `shares`.
[[nodiscard]] Interval part_of(Interval whole, std::span<const std::int64_t> shares, std::size_t rank);

} // namespace muster::worker
