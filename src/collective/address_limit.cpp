#include "collective/address_limit.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

namespace muster::collective {

std::string address_key(const sockaddr_storage& address) {
    constexpr std::size_t network_bytes = 8;
    const auto text = [](const auto& bytes, std::size_t count) {
        return std::string{reinterpret_cast<const char*>(&bytes), count};
    };
    if (address.ss_family == AF_INET) {
        return text(reinterpret_cast<const sockaddr_in&>(address).sin_addr, sizeof(in_addr));
    }
    if (address.ss_family == AF_INET6) {
        const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address).sin6_addr;
        if (IN6_IS_ADDR_V4MAPPED(&v6)) {
            return text(v6.s6_addr[12], sizeof(in_addr));
        }
        return text(v6, network_bytes);
    }
    return {};
}

double AddressLimit::tokens_of(const Bucket& bucket, SteadyTime now) const {
    const double seconds = std::chrono::duration<double>(now - bucket.filled_at).count();
    return std::min(burst_, bucket.tokens + seconds * per_second_);
}

bool AddressLimit::admits(const std::string& key, SteadyTime now) {
    auto entry = buckets_.find(key);
    if (entry == buckets_.end()) {
        if (buckets_.size() >= addresses_max && !make_room(now)) {
            return false;
        }
        entry = buckets_.emplace(key, Bucket{burst_, now}).first;
    }
    auto& bucket = entry->second;
    bucket = {tokens_of(bucket, now), now};
    if (bucket.tokens < 1) {
        return false;
    }
    bucket.tokens -= 1;
    return true;
}

void AddressLimit::give_back(const std::string& key) {
    if (const auto entry = buckets_.find(key); entry != buckets_.end()) {
        entry->second.tokens = std::min(burst_, entry->second.tokens + 1);
    }
}

/// Forgets the addresses whose bucket is full again: they are like new ones.
bool AddressLimit::make_room(SteadyTime now) {
    std::erase_if(buckets_, [&](const auto& entry) { return tokens_of(entry.second, now) >= burst_; });
    return buckets_.size() < addresses_max;
}

} // namespace muster::collective
