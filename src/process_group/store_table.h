/// StoreTable: the keys, values and queues of a store. No I/O, no clock.
#pragma once

#include "process_group/store_messages.h"

#include <cstddef>
#include <deque>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace muster::process_group {

/// Keys, values and queues together, in bytes.
inline constexpr std::size_t store_table_bytes_max = 256U << 20U;

/// One thread. What the requests mean is c10d::Store's contract, in the form of torch's TCPStore.
class StoreTable {
public:
    explicit StoreTable(std::size_t bytes_max = store_table_bytes_max) : bytes_max_{bytes_max} {}

    /// Answers a request, or returns nothing when it has to wait for a key (get, wait, pop).
    /// Replies `refused` to requests of a wrong shape and when the table is full.
    [[nodiscard]] std::optional<StoreReply> answer(const StoreRequest& request);
    /// The answer to a request whose patience has ended: what it still lacks.
    [[nodiscard]] StoreReply give_up(const StoreRequest& request) const;

private:
    [[nodiscard]] bool has(const std::string& key) const;
    [[nodiscard]] std::vector<std::string> missing(const std::vector<std::string>& keys) const;
    StoreReply store(const std::string& key, std::string value);
    StoreReply add(const std::string& key, const std::string& number);
    StoreReply compare_set(const StoreRequest& request);
    StoreReply remove(const std::string& key);
    StoreReply push(const StoreRequest& request);
    std::optional<StoreReply> pop(const StoreRequest& request);
    [[nodiscard]] bool fits(std::size_t more, std::size_t less = 0) const { return bytes_ - less + more <= bytes_max_; }

    std::unordered_map<std::string, std::string> values_{};
    std::unordered_map<std::string, std::deque<std::string>> queues_{};
    std::size_t bytes_{0};
    std::size_t bytes_max_;
};

} // namespace muster::process_group
