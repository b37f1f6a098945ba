#include "worker/sampler.h"

#include "base/assert.h"
#include "worker/split_mix.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace muster::worker {
namespace {

/// Mixes two numbers into one seed, so that neighbouring seeds and epochs share nothing.
std::uint64_t key(std::uint64_t seed, std::uint64_t stream) {
    SplitMix mix{seed};
    SplitMix mixed{mix.next() ^ (stream * 0xD1342543DE82EF95U)};
    return mixed.next();
}

/// Fisher-Yates. std::shuffle is not used: its result is up to the library.
void shuffle(std::span<std::int64_t> values, SplitMix random) {
    for (std::size_t left = values.size(); left > 1; --left) {
        std::swap(values[left - 1], values[random.below(left)]);
    }
}

constexpr std::uint64_t split_stream = 0xFFFFFFFFFFFFFFFFU; // no epoch has this number
constexpr std::uint64_t shift_stream = 1ULL << 63U;         // plus an epoch's number

/// Tokens that split_text keeps for training.
std::int64_t training_tokens(std::int64_t rows, std::int64_t sequence, double validation) {
    auto kept = static_cast<std::int64_t>(std::floor(static_cast<double>(rows) * validation));
    if (kept < sequence) { // less is of no use
        kept = validation > 0.0 && rows >= 2 * sequence ? sequence : 0;
    }
    return rows - kept;
}

/// The first rows of `count` samples, one after the other.
/// Rows of a table that are kept for validation.
std::int64_t kept_of(std::int64_t rows, double validation) {
    const auto kept = static_cast<std::int64_t>(std::floor(static_cast<double>(rows) * validation));
    return kept == 0 && validation > 0.0 && rows >= 2 ? 1 : kept;
}

std::vector<std::int64_t> samples(std::int64_t begin, std::int64_t count, std::int64_t sequence) {
    std::vector<std::int64_t> firsts;
    for (std::int64_t i = 0; i < count; ++i) {
        firsts.push_back(begin + i * sequence);
    }
    return firsts;
}

} // namespace

RowSplit split_end(std::int64_t rows, double validation) {
    MUSTER_ASSERT(rows >= 0 && validation >= 0.0 && validation < 1.0);
    std::vector<std::int64_t> all(static_cast<std::size_t>(rows));
    std::iota(all.begin(), all.end(), 0);
    const auto first = all.end() - kept_of(rows, validation);
    return {.training = {all.begin(), first}, .validation = {first, all.end()}};
}

RowSplit split_rows(std::int64_t rows, double validation, std::uint64_t seed) {
    MUSTER_ASSERT(rows >= 0 && validation >= 0.0 && validation < 1.0);
    std::vector<std::int64_t> order(static_cast<std::size_t>(rows));
    std::iota(order.begin(), order.end(), 0);
    shuffle(order, SplitMix{key(seed, split_stream)});
    const std::int64_t kept = kept_of(rows, validation);
    RowSplit split;
    split.validation.assign(order.begin(), order.begin() + kept);
    split.training.assign(order.begin() + kept, order.end());
    std::ranges::sort(split.validation);
    std::ranges::sort(split.training);
    return split;
}

RowSplit split_text(std::int64_t rows, std::int64_t sequence, double validation) {
    MUSTER_ASSERT(rows >= 0 && sequence > 0 && validation >= 0.0 && validation < 1.0);
    const std::int64_t training = training_tokens(rows, sequence, validation);
    const std::int64_t movable = (training - (sequence - 1)) / sequence;
    return {.training = samples(0, training >= sequence ? std::max<std::int64_t>(1, movable) : 0, sequence),
            .validation = samples(training, (rows - training) / sequence, sequence)};
}

RowSplit split_windows(std::span<const float> targets, std::int64_t window, double validation) {
    MUSTER_ASSERT(window > 0 && validation >= 0.0 && validation < 1.0);
    RowSplit split;
    std::vector<std::int64_t> series;
    std::int64_t begin = 0;
    const auto divide = [&] {
        const std::int64_t windows = std::ssize(series);
        auto kept = static_cast<std::int64_t>(std::floor(static_cast<double>(windows) * validation));
        kept = kept == 0 && validation > 0.0 && windows >= 2 ? 1 : kept;
        const auto edge = series.end() - kept;
        split.training.insert(split.training.end(), series.begin(), edge);
        split.validation.insert(split.validation.end(), edge, series.end());
        series.clear();
    };
    for (std::int64_t row = 0; row < std::ssize(targets); ++row) {
        const float target = targets[static_cast<std::size_t>(row)];
        if (std::isinf(target)) {
            divide();
            begin = row;
        } else if (!std::isnan(target) && row - begin + 1 >= window) {
            series.push_back(row);
        }
    }
    divide();
    return split;
}

std::vector<std::int64_t> text_samples(std::int64_t rows, std::int64_t sequence) {
    MUSTER_ASSERT(rows >= 0 && sequence > 0);
    return samples(0, rows / sequence, sequence);
}

std::int64_t shift_of_epoch(
    const RowSplit& split, std::int64_t rows, std::int64_t sequence, std::uint64_t seed, std::int64_t epoch) {
    const std::int64_t end = split.validation.empty() ? rows : split.validation.front();
    const std::int64_t spare = end - split.training.back() - sequence;
    const auto choices = static_cast<std::uint64_t>(std::min(spare, sequence - 1) + 1);
    return static_cast<std::int64_t>(
        SplitMix{key(seed, shift_stream + static_cast<std::uint64_t>(epoch))}.below(choices));
}

void shuffle_for_epoch(std::span<std::int64_t> rows, std::uint64_t seed, std::int64_t epoch) {
    std::ranges::sort(rows); // the order must not depend on the epochs before
    shuffle(rows, SplitMix{key(seed, static_cast<std::uint64_t>(epoch))});
}

std::int64_t batches_per_epoch(std::int64_t rows, std::int64_t batch) {
    MUSTER_ASSERT(rows > 0 && batch > 0);
    return (rows - 1) / batch + 1;
}

Interval global_batch(std::int64_t rows, std::int64_t batch, std::int64_t index) {
    MUSTER_ASSERT(index >= 0 && index < batches_per_epoch(rows, batch));
    return {index * batch, std::min(rows, (index + 1) * batch)};
}

Interval part_of(Interval whole, std::span<const std::int64_t> shares, std::size_t rank) {
    MUSTER_ASSERT(rank < shares.size());
    const auto first = shares.begin() + static_cast<std::ptrdiff_t>(rank);
    const std::int64_t before = std::accumulate(shares.begin(), first, std::int64_t{0});
    const std::int64_t total = std::accumulate(first, shares.end(), before);
    MUSTER_ASSERT(total > 0);
    __extension__ using Wide = __int128; // rows times shares may pass 64 bits
    const auto cut = [&](std::int64_t share) {
        return whole.begin + static_cast<std::int64_t>(static_cast<Wide>(whole.size()) * share / total);
    };
    return {cut(before), cut(before + *first)};
}

} // namespace muster::worker
