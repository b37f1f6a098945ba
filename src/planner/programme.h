/// The dynamic programme that cuts a chain into stages. Source: reference algorithms 1.5.
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

namespace muster::planner {

/// Blocks begin to end - 1 at a place.
struct Run {
    std::size_t place{};
    std::size_t begin{};
    std::size_t end{};

    bool operator==(const Run&) const = default;
};

/// What does not fit takes for ever.
inline constexpr double never = std::numeric_limits<double>::infinity();

/// Cuts `blocks` blocks over `places` in their order. O(L^2 S^2) for L blocks and S places.
/// `seconds(place, begin, end, after)` are those of blocks begin to end - 1 at a place with `after` stages behind it;
/// never, where they do not fit. More blocks fit no better.
template <typename Seconds>
class Programme {
public:
    Programme(std::size_t blocks, std::size_t places, Seconds seconds)
        : blocks_{blocks}, places_{places}, seconds_{std::move(seconds)} {}

    /// The cut into exactly `stages` stages, at as many of the places, whose slowest one is fastest; among equals the
    /// shorter way through all stages. Nothing, when none fits.
    [[nodiscard]] std::optional<std::vector<Run>> best(std::size_t stages) {
        const double slowest = solve(stages, never, [](double a, double b) { return std::max(a, b); });
        if (slowest == never) {
            return std::nullopt;
        }
        // As fast in the slowest stage, and the shortest way through all.
        (void)solve(stages, slowest, [](double a, double b) { return a + b; });
        return runs_found(stages);
    }

private:
    struct Cell {
        double cost{never};
        std::size_t end{0}; ///< of the first stage; 0: the first place stays unused
    };

    [[nodiscard]] Cell& cell(std::size_t place, std::size_t stages, std::size_t begin) {
        return cells_[(place * (most_ + 1) + stages) * (blocks_ + 1) + begin];
    }

    template <typename Join>
    [[nodiscard]] double solve(std::size_t stages, double limit, const Join& join) {
        most_ = stages;
        cells_.assign((places_ + 1) * (stages + 1) * (blocks_ + 1), {});
        cell(places_, 0, blocks_).cost = 0.0;
        for (std::size_t left = places_; left-- > 0;) {
            cell(left, 0, blocks_).cost = 0.0;
            for (std::size_t count = 1; count <= std::min(stages, places_ - left); ++count) {
                for (std::size_t begin = 0; begin < blocks_; ++begin) {
                    fill(left, count, begin, limit, join);
                }
            }
        }
        return cell(0, stages, 0).cost;
    }

    template <typename Join>
    void fill(std::size_t place, std::size_t count, std::size_t begin, double limit, const Join& join) {
        auto& best = cell(place, count, begin);
        best = {cell(place + 1, count, begin).cost, 0};
        for (std::size_t end = begin + 1; end <= blocks_; ++end) {
            const double rest = cell(place + 1, count - 1, end).cost;
            if (rest == never) {
                continue;
            }
            const double seconds = seconds_(place, begin, end, count - 1);
            if (seconds == never) {
                break; // more blocks need more memory, and begin where these do
            }
            const double cost = join(seconds, rest);
            if (seconds <= limit && cost < best.cost) {
                best = {cost, end};
            }
        }
    }

    [[nodiscard]] std::vector<Run> runs_found(std::size_t count) {
        std::vector<Run> found;
        std::size_t begin = 0;
        for (std::size_t place = 0; count > 0; ++place) {
            const auto end = cell(place, count, begin).end;
            if (end == 0) {
                continue;
            }
            found.push_back({.place = place, .begin = begin, .end = end});
            begin = end;
            --count;
        }
        return found;
    }

    std::size_t blocks_;
    std::size_t places_;
    Seconds seconds_;
    std::size_t most_{0};
    std::vector<Cell> cells_{}; ///< over (places left, stages left, blocks left)
};

} // namespace muster::planner
