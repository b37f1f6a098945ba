/// Random numbers that are the same on every machine and with every library.
#pragma once

#include <cstdint>

namespace muster::worker {

/// SplitMix64 (Steele, Lea, Flood 2014): one word of state, the same on every machine.
class SplitMix {
public:
    explicit SplitMix(std::uint64_t seed) : state_{seed} {}

    std::uint64_t next() {
        state_ += 0x9E3779B97F4A7C15U;
        std::uint64_t word = state_;
        word = (word ^ (word >> 30U)) * 0xBF58476D1CE4E5B9U;
        word = (word ^ (word >> 27U)) * 0x94D049BB133111EBU;
        return word ^ (word >> 31U);
    }

    /// Uniform in [0, bound) without bias: Lemire, "Fast random integer generation in an interval" (2019).
    std::uint64_t below(std::uint64_t bound) {
        __extension__ using Wide = unsigned __int128;
        Wide product = static_cast<Wide>(next()) * bound;
        if (static_cast<std::uint64_t>(product) < bound) {
            const std::uint64_t threshold = (0 - bound) % bound;
            while (static_cast<std::uint64_t>(product) < threshold) {
                product = static_cast<Wide>(next()) * bound;
            }
        }
        return static_cast<std::uint64_t>(product >> 64U);
    }

private:
    std::uint64_t state_;
};

} // namespace muster::worker
