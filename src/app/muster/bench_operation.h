/// What a bench calls: each kind of collective with the data it needs and what must come out of it.
#pragma once

#include "collective/group.h"

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace muster::app {

/// The kinds by name, for the command line.
[[nodiscard]] const std::vector<std::string>& bench_operations();

/// Whether results go to a second buffer of the same size.
[[nodiscard]] bool needs_second_buffer(const std::string& operation);

/// What a link must carry in each direction at the very least, as a share of the operation's bytes.
[[nodiscard]] double bus_share(const std::string& operation, std::size_t ranks);

/// One kind of collective on this rank's buffers, f32. One thread.
class BenchOperation {
public:
    /// `data` is the whole that the ranks share or exchange; `second` is as long where needs_second_buffer().
    /// Throws std::invalid_argument when there is no such kind.
    BenchOperation(collective::Group& group, std::string name, std::span<float> data, std::span<float> second);

    /// Writes this rank's input. Values are small whole numbers, so sums are exact, and they differ from place to place
    /// and from rank to rank, so a block in the wrong place is seen.
    void fill();
    void run();
    /// Throws std::runtime_error when the result is wrong.
    void check() const;

private:
    enum class Kind { all_reduce, all_gather, reduce_scatter, all_to_all, broadcast, barrier };

    [[nodiscard]] std::size_t begin_of(std::size_t rank) const { return data_.size() * rank / ranks_; }
    [[nodiscard]] std::span<float> block(std::size_t rank) const {
        return data_.subspan(begin_of(rank), begin_of(rank + 1) - begin_of(rank));
    }
    [[nodiscard]] std::span<float> output() const;
    [[nodiscard]] float expected(std::size_t index) const;

    collective::Group& group_;
    const std::string name_;
    const Kind kind_;
    const std::size_t ranks_;
    const std::size_t rank_;
    std::span<float> data_;
    std::span<float> second_;
    std::vector<std::size_t> lengths_{}; ///< of the blocks, bytes
};

} // namespace muster::app
