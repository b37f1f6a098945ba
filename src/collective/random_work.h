/// Test support: the same random operations on every rank of a group, transfers and sub-groups among them.
#pragma once

#include "collective/group.h"

#include <fmt/format.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

namespace muster::collective::test {

/// Each rank makes one from the same seed. step() runs the next operation, whatever it is.
class RandomWork {
public:
    RandomWork(Group& group, unsigned seed) : group_{group}, random_{seed}, seed_{seed} {}

    void step() {
        ++steps_;
        switch (below(12)) {
        case 0:
            return group_.barrier();
        case 1:
            return group_.broadcast(fill(size()), root());
        case 2:
            return gather_all();
        case 3:
            return group_.all_reduce(fill(size() / 4 * 4), ElementType::f32, ReduceOp::sum, wire());
        case 4:
            return group_.reduce(fill(size() / 4 * 4), ElementType::i32, ReduceOp::max, root());
        case 5:
            return scatter_reduced();
        case 6:
            return all_to_all();
        case 7:
            return gather_and_scatter();
        case 8:
            return pass_on();
        case 9:
            return all_send_to_one();
        default:
            return split();
        }
    }

private:
    using Bytes = std::vector<std::byte>;

    unsigned below(unsigned limit) { return static_cast<unsigned>(random_() % limit); }
    int root() { return static_cast<int>(below(static_cast<unsigned>(group_.size()))); }
    WireFormat wire() { return static_cast<WireFormat>(below(3)); }
    std::size_t ranks() const { return static_cast<std::size_t>(group_.size()); }
    std::size_t own() const { return static_cast<std::size_t>(group_.rank()); }
    /// Mostly small, sometimes of many frames.
    std::size_t size() { return (below(3) == 0 ? 300'000U : 0U) + below(4000); }
    std::span<std::byte> fill(std::size_t bytes) {
        data_.assign(bytes, std::byte{1});
        return data_;
    }
    std::vector<std::size_t> lengths(std::size_t element_bytes) {
        std::vector<std::size_t> all;
        for (std::size_t i = 0; i < ranks(); ++i) {
            all.push_back(size() / element_bytes * element_bytes);
        }
        return all;
    }
    static std::size_t sum(const std::vector<std::size_t>& all) {
        std::size_t total = 0;
        for (const auto length : all) {
            total += length;
        }
        return total;
    }

    void gather_all() {
        const auto each = lengths(1);
        Bytes all(sum(each));
        group_.all_gather(fill(each[own()]), all, each);
    }
    void scatter_reduced() {
        const auto each = lengths(8);
        Bytes mine(each[own()]);
        group_.reduce_scatter(fill(sum(each)), mine, each, ElementType::i64, ReduceOp::sum);
    }
    void all_to_all() {
        const auto each = lengths(1); // What each rank sends to everybody.
        Bytes all(sum(each));
        const std::vector<std::size_t> to(ranks(), each[own()]);
        group_.all_to_all(fill(each[own()] * ranks()), to, all, each);
    }
    void gather_and_scatter() {
        const auto each = lengths(1);
        const int to = root();
        Bytes all(group_.rank() == to ? sum(each) : 0);
        group_.gather(fill(each[own()]), all, each, to);
        group_.scatter(all, data_, each, to);
    }
    void pass_on() {
        const auto bytes = size();
        Bytes in(bytes);
        const int next = (group_.rank() + 1) % group_.size();
        const int previous = (group_.rank() + group_.size() - 1) % group_.size();
        if (group_.size() < 2) {
            return;
        }
        const auto received = group_.receive(in, previous, steps_);
        const auto sent = group_.send(fill(bytes), next, steps_);
        received->wait();
        sent->wait();
    }
    void all_send_to_one() {
        const auto bytes = size();
        const int to = root();
        if (group_.rank() != to) {
            return group_.send(fill(bytes), to, steps_)->wait();
        }
        fill(bytes);
        for (std::size_t i = 1; i < ranks(); ++i) {
            group_.receive(data_, Group::any_rank, steps_)->wait();
        }
    }
    /// Into odd and even ranks, which do things of their own.
    void split() {
        const auto count = below(3) + 1;
        const auto seed = seed_ + 1000 * static_cast<unsigned>(steps_) + static_cast<unsigned>(own() % 2);
        if (depth_ > 0 || group_.size() < 3) {
            return group_.barrier();
        }
        std::vector<int> members;
        for (int rank = group_.rank() % 2; rank < group_.size(); rank += 2) {
            members.push_back(rank);
        }
        const auto part = group_.subgroup(fmt::format("part {}", steps_), members);
        RandomWork work{*part, seed};
        work.depth_ = depth_ + 1;
        for (unsigned i = 0; i < count; ++i) {
            work.step();
        }
    }

    Group& group_;
    std::mt19937 random_;
    unsigned seed_;
    std::uint64_t steps_{0};
    int depth_{0};
    Bytes data_{};
};

} // namespace muster::collective::test
