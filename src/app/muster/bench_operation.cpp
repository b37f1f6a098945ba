#include "app/muster/bench_operation.h"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

namespace muster::app {
namespace {

constexpr std::size_t pattern_length = 1021;

float pattern(std::size_t index) {
    return static_cast<float>(index % pattern_length);
}

std::size_t number_of(const std::string& name) {
    const auto& names = bench_operations();
    const auto found = std::ranges::find(names, name);
    if (found == names.end()) {
        throw std::invalid_argument{"no operation is called " + name};
    }
    return static_cast<std::size_t>(found - names.begin());
}

} // namespace

const std::vector<std::string>& bench_operations() {
    // In the order of Kind.
    static const std::vector<std::string> names{
        "all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast", "barrier"};
    return names;
}

bool needs_second_buffer(const std::string& operation) {
    return operation == "reduce_scatter" || operation == "all_to_all";
}

double bus_share(const std::string& operation, std::size_t ranks) {
    const double others = static_cast<double>(ranks - 1) / static_cast<double>(ranks);
    return operation == "all_reduce" ? 2 * others : operation == "broadcast" || operation == "barrier" ? 1.0 : others;
}

BenchOperation::BenchOperation(collective::Group& group,
                               std::string name,
                               std::span<float> data,
                               std::span<float> second)
    : group_{group}, name_{std::move(name)}, kind_{static_cast<Kind>(number_of(name_))},
      ranks_{static_cast<std::size_t>(group.size())}, rank_{static_cast<std::size_t>(group.rank())}, data_{data},
      second_{second} {
    if (kind_ == Kind::all_to_all) {
        data_ = data_.first(data_.size() / ranks_ * ranks_); // blocks of one length, as people use it
    }
    for (std::size_t rank = 0; rank < ranks_; ++rank) {
        lengths_.push_back(block(rank).size_bytes());
    }
}

std::span<float> BenchOperation::output() const {
    return kind_ == Kind::reduce_scatter ? second_.first(block(rank_).size())
           : kind_ == Kind::all_to_all   ? second_.first(data_.size())
                                         : data_;
}

void BenchOperation::fill() {
    if (kind_ == Kind::broadcast && rank_ != 0) {
        std::ranges::fill(data_, -1.0F);
        return;
    }
    const bool shared = kind_ == Kind::all_gather || kind_ == Kind::broadcast; // parts of one whole
    const auto own = kind_ == Kind::all_gather ? block(rank_) : data_;
    const std::size_t first = static_cast<std::size_t>(own.data() - data_.data());
    const float offset = shared ? 0.0F : static_cast<float>(rank_);
    for (std::size_t i = 0; i < own.size(); ++i) {
        own[i] = pattern(first + i) + offset;
    }
}

void BenchOperation::run() {
    using enum Kind;
    using collective::ElementType;
    using collective::ReduceOp;
    const auto bytes = std::as_writable_bytes(data_);
    const auto result = std::as_writable_bytes(output());
    switch (kind_) {
    case all_reduce:
        return group_.all_reduce(bytes, ElementType::f32, ReduceOp::sum);
    case all_gather:
        return group_.all_gather(std::as_bytes(block(rank_)), bytes, lengths_);
    case reduce_scatter:
        return group_.reduce_scatter(bytes, result, lengths_, ElementType::f32, ReduceOp::sum);
    case all_to_all:
        return group_.all_to_all(bytes, lengths_, result, lengths_);
    case broadcast:
        return group_.broadcast(bytes, 0);
    case barrier:
        return group_.barrier();
    }
}

float BenchOperation::expected(std::size_t index) const {
    const auto ranks = static_cast<float>(ranks_);
    const float offsets = static_cast<float>(ranks_ * (ranks_ - 1) / 2);
    const std::size_t length = block(rank_).size();
    switch (kind_) {
    case Kind::all_reduce:
        return ranks * pattern(index) + offsets;
    case Kind::reduce_scatter:
        return ranks * pattern(begin_of(rank_) + index) + offsets;
    case Kind::all_to_all:
        return pattern(begin_of(rank_) + index % length) + static_cast<float>(index / length);
    case Kind::all_gather:
    case Kind::broadcast:
    case Kind::barrier:
        break;
    }
    return pattern(index);
}

void BenchOperation::check() const {
    const auto found = output();
    for (std::size_t i = 0; i < found.size(); ++i) {
        if (found[i] != expected(i)) {
            throw std::runtime_error{fmt::format(
                "{} of {} bytes gave {} at element {}, not {}", name_, data_.size_bytes(), found[i], i, expected(i))};
        }
    }
}

} // namespace muster::app
