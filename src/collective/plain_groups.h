/// Test support: groups whose ranks are threads, over plain sockets: quick to make, for what does not depend on TLS.
#pragma once

#include "collective/group_fixture.h"
#include "collective/mesh_group.h"
#include "plain_connection.h"

#include <sys/socket.h>

#include <system_error>

namespace muster::collective::test {

/// Two connected sockets.
inline std::array<UniqueFd, 2> connected_sockets() {
    int ends[2] = {-1, -1};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        throw std::system_error{errno, std::generic_category(), "socketpair"};
    }
    return {UniqueFd{ends[0]}, UniqueFd{ends[1]}};
}

inline GroupSpec plain_spec(int size, int rank) {
    GroupSpec spec{.rank = rank, .operation_timeout = patience};
    for (int i = 0; i < size; ++i) {
        spec.members.push_back({fmt::format("gnb-{}", i), identity_of(i), {}});
    }
    return spec;
}

/// The groups of all ranks. `adjust` changes every spec before.
inline std::vector<std::unique_ptr<Group>> plain_groups(int size, const Adjust& adjust = {}) {
    const auto width = static_cast<std::size_t>(size);
    std::vector<Edges> edges(width);
    std::vector<GroupSpec> specs;
    for (int rank = 0; rank < size; ++rank) {
        specs.push_back(plain_spec(size, rank));
        if (adjust) {
            adjust(specs.back());
        }
        edges[static_cast<std::size_t>(rank)].resize(width);
    }
    for (std::size_t low = 0; low < width; ++low) {
        for (std::size_t high = low + 1; high < width; ++high) {
            for (int stripe = 0; stripe < specs[low].stripes; ++stripe) {
                auto ends = connected_sockets();
                edges[low][high].push_back(std::make_unique<bench::PlainConnection>(std::move(ends[0])));
                edges[high][low].push_back(std::make_unique<bench::PlainConnection>(std::move(ends[1])));
            }
        }
    }
    std::vector<std::unique_ptr<Group>> groups;
    for (std::size_t rank = 0; rank < width; ++rank) {
        groups.push_back(std::make_unique<MeshGroup>(specs[rank], std::move(edges[rank])));
    }
    return groups;
}

} // namespace muster::collective::test
