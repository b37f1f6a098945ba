/// A rank of `muster bench collectives` whose engine has plain TCP connections instead of TLS. For the bench alone:
///     muster bench collectives --rank 127.0.0.1=muster-bench-plain-rank --rank 127.0.0.1=muster-bench-plain-rank
#include "app/muster/bench_rank.h"
#include "collective/mesh_group.h"
#include "plain_connection.h"

#include <csignal>

namespace {

using namespace muster;

Result<std::unique_ptr<collective::Group>>
connect_plain(const collective::GroupSpec& spec, int listener, Deadline deadline) {
    const auto dialer = collective::tcp_dialer();
    auto edges = bench::join_plain(spec, listener, *dialer, deadline);
    if (!edges) {
        return std::move(edges).error();
    }
    auto group = std::make_unique<collective::MeshGroup>(spec, std::move(*edges));
    group->meet(deadline);
    return std::unique_ptr<collective::Group>{std::move(group)};
}

} // namespace

int main() {
    std::signal(SIGPIPE, SIG_IGN);
    return app::run_bench_rank(connect_plain);
}
