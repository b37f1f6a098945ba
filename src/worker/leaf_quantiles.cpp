#include "worker/leaf_quantiles.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <utility>

namespace muster::worker {
namespace {

constexpr int digit_bits = 8;
constexpr std::size_t digits = 1U << digit_bits;

/// Two neighbours in ascending order, and how far the quantile is from the upper to the lower.
struct Place {
    std::int64_t upper{};
    std::int64_t lower{};
    double towards_lower{};
};

Place place_of(std::int64_t count, double quantile) {
    const double from_top = static_cast<double>(count - 1) * (1.0 - quantile);
    const auto whole = static_cast<std::int64_t>(from_top);
    const std::int64_t upper = std::max<std::int64_t>(count - 1 - whole, 0);
    return {upper, std::max<std::int64_t>(upper - 1, 0), from_top - static_cast<double>(whole)};
}

double between(double upper, double lower, double towards_lower) {
    return upper - (upper - lower) * towards_lower;
}

/// Unsigned numbers in the order of the values.
std::uint64_t key_of(double value) {
    const auto bits = std::bit_cast<std::uint64_t>(value == 0.0 ? 0.0 : value);
    return (bits >> 63U) != 0 ? ~bits : bits | (std::uint64_t{1} << 63U);
}

double value_of(std::uint64_t key) {
    return std::bit_cast<double>((key >> 63U) != 0 ? key & ~(std::uint64_t{1} << 63U) : ~key);
}

void sum_over(collective::Group* group, std::span<std::int64_t> counts) {
    if (group != nullptr && group->size() > 1) {
        group->all_reduce(std::as_writable_bytes(counts), collective::ElementType::i64, collective::ReduceOp::sum);
    }
}

/// One order statistic that is being found: the digits so far, and its rank among those that begin with them.
struct Search {
    std::uint64_t prefix{};
    std::int64_t rank{};
};

/// A row that may still be one of a leaf's order statistics.
struct Candidate {
    std::uint64_t key{};
    std::size_t leaf{};
};

} // namespace

double quantile_of(std::vector<double> values, double quantile) {
    const Place place = place_of(static_cast<std::int64_t>(values.size()), quantile);
    const auto upper = values.begin() + place.upper;
    std::nth_element(values.begin(), upper, values.end());
    const double lower = place.lower < place.upper ? *std::max_element(values.begin(), upper) : *upper;
    return between(*upper, lower, place.towards_lower);
}

std::vector<double> leaf_quantiles(collective::Group* group,
                                   std::span<const double> values,
                                   std::span<const int> leaves,
                                   int leaf_count,
                                   double quantile) {
    const auto width = static_cast<std::size_t>(leaf_count);
    std::vector<std::int64_t> rows(width);
    for (const int leaf : leaves) {
        if (leaf >= 0) {
            ++rows[static_cast<std::size_t>(leaf)];
        }
    }
    sum_over(group, rows);
    std::vector<std::array<Search, 2>> searches(width);
    for (std::size_t leaf = 0; leaf < width; ++leaf) {
        const Place place = place_of(rows[leaf], quantile);
        searches[leaf] = {Search{0, place.upper}, Search{0, place.lower}};
    }
    std::vector<Candidate> candidates;
    for (std::size_t row = 0; row < values.size(); ++row) {
        if (leaves[row] >= 0) {
            candidates.push_back({key_of(values[row]), static_cast<std::size_t>(leaves[row])});
        }
    }
    std::vector<std::int64_t> counts(width * 2 * digits);
    for (int shift = 64 - digit_bits; shift >= 0; shift -= digit_bits) {
        std::ranges::fill(counts, 0);
        std::erase_if(candidates, [&](const Candidate& candidate) {
            const std::uint64_t begin = candidate.key >> static_cast<unsigned>(shift);
            const std::size_t digit = begin & (digits - 1);
            const auto& both = searches[candidate.leaf];
            std::int64_t* count = &counts[candidate.leaf * 2 * digits];
            const bool upper = (begin >> digit_bits) == both[0].prefix;
            const bool lower = (begin >> digit_bits) == both[1].prefix;
            count[digit] += upper ? 1 : 0;
            count[digits + digit] += lower ? 1 : 0;
            return !upper && !lower;
        });
        sum_over(group, counts);
        for (std::size_t leaf = 0; leaf < width; ++leaf) {
            for (std::size_t which = 0; which < 2; ++which) {
                Search& search = searches[leaf][which];
                const std::int64_t* count = &counts[(leaf * 2 + which) * digits];
                std::uint64_t digit = 0;
                while (digit + 1 < digits && search.rank >= count[digit]) {
                    search.rank -= count[digit];
                    ++digit;
                }
                search.prefix = (search.prefix << digit_bits) | digit;
            }
        }
    }
    std::vector<double> result(width);
    for (std::size_t leaf = 0; leaf < width; ++leaf) {
        if (rows[leaf] > 0) {
            const double towards_lower = place_of(rows[leaf], quantile).towards_lower;
            result[leaf] =
                between(value_of(searches[leaf][0].prefix), value_of(searches[leaf][1].prefix), towards_lower);
        }
    }
    return result;
}

} // namespace muster::worker
