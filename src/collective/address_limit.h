/// AddressLimit: how many connections one address may open. Pure.
#pragma once

#include "base/clock.h"

#include <cstddef>
#include <string>
#include <unordered_map>

struct sockaddr_storage;

namespace muster::collective {

/// What counts as one address: an IPv4 address, or an IPv6 network of 64 bits, which one host may fill alone.
[[nodiscard]] std::string address_key(const sockaddr_storage& address);

/// A bucket of tokens for each address. A connection takes one; one that becomes a member's gets it back.
class AddressLimit {
public:
    /// `burst` at once, `per_second` in the long run.
    AddressLimit(double burst, double per_second) : burst_{burst}, per_second_{per_second} {}

    [[nodiscard]] bool admits(const std::string& key, SteadyTime now);
    void give_back(const std::string& key);
    /// Addresses that are remembered; bounded.
    [[nodiscard]] std::size_t remembered() const { return buckets_.size(); }

    static constexpr std::size_t addresses_max = 4096;

private:
    struct Bucket {
        double tokens{};
        SteadyTime filled_at{};
    };
    [[nodiscard]] double tokens_of(const Bucket& bucket, SteadyTime now) const;
    bool make_room(SteadyTime now);

    double burst_;
    double per_second_;
    std::unordered_map<std::string, Bucket> buckets_{};
};

} // namespace muster::collective
