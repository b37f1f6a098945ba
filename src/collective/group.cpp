#include "collective/group.h"

#include "collective/admission.h"
#include "collective/join.h"
#include "collective/mesh_group.h"
#include "collective/solo_group.h"
#include "tls/keys.h"

#include <fmt/format.h>

namespace muster::collective {
namespace {

constexpr std::size_t bytes_max = std::size_t{1} << 30U; // of a piece
constexpr std::size_t segment_bytes_min = 64;
constexpr int stripes_max = 16;
/// A certificate of which less than this part of this rank's certificate's life is left gets a warning.
constexpr int expiry_warning_part = 10;

Result<void> check(const GroupSpec& spec) {
    const auto wrong = [](std::string text, const char* where) {
        return Error{ErrorCode::invalid_argument, std::move(text), where};
    };
    if (spec.members.empty()) {
        return wrong("a group has at least one member", "members");
    }
    if (spec.rank < 0 || static_cast<std::size_t>(spec.rank) >= spec.members.size()) {
        return wrong(fmt::format("rank {} in a group of {}", spec.rank, spec.members.size()), "rank");
    }
    if (spec.segment_bytes < segment_bytes_min || spec.segment_bytes > bytes_max) {
        return wrong(fmt::format("{} is not within {} and {}", spec.segment_bytes, segment_bytes_min, bytes_max),
                     "segment_bytes");
    }
    if (spec.tuning.empty()) {
        return wrong("has no row", "tuning");
    }
    if (spec.stripes < 1 || spec.stripes > stripes_max) {
        return wrong(fmt::format("{} is not within 1 and {}", spec.stripes, stripes_max), "stripes");
    }
    if (spec.operation_timeout <= Duration::zero()) {
        return wrong("must be positive", "operation_timeout");
    }
    return {};
}

/// Connections outlive the certificates that they were made with; the next generation does not begin with expired ones.
void warn_of_expiry(const GroupSpec& spec, const Edges& edges) {
    const auto own = tls::inspect(spec.credentials.own.certificate);
    if (!spec.on_warning || !own) {
        return;
    }
    const auto now = std::chrono::system_clock::now();
    const auto soon = now + (own->not_after - own->not_before) / expiry_warning_part;
    const auto look_at = [&](int rank, WallTime end) {
        if (end < soon) {
            const auto left = std::chrono::duration_cast<std::chrono::minutes>(end - now);
            spec.on_warning(fmt::format("the certificate of {} expires on {}, in {} minutes; renew it before the "
                                        "group's next generation, which it cannot join any more",
                                        name_of(spec.members, rank),
                                        rfc3339(end),
                                        left.count()));
        }
    };
    for (std::size_t peer = 0; peer < edges.size(); ++peer) {
        look_at(static_cast<int>(peer), edges[peer].empty() ? own->not_after : edges[peer][0]->certificate_expires());
    }
}

} // namespace

Result<std::unique_ptr<Group>> Group::connect(GroupSpec spec, int listener, Dialer& dialer, Deadline deadline) {
    if (auto checked = check(spec); !checked) {
        return checked.error();
    }
    if (spec.members.size() == 1) {
        return std::unique_ptr<Group>{std::make_unique<SoloGroup>()};
    }
    auto edges = join(spec, listener, dialer, deadline);
    if (!edges) {
        return Error{edges.error()}.within(fmt::format(
            "join generation {} of job {} as {}", spec.generation, spec.job, name_of(spec.members, spec.rank)));
    }
    warn_of_expiry(spec, *edges);
    auto group = std::make_unique<MeshGroup>(spec, std::move(edges).value());
    try {
        group->meet(deadline);
    } catch (const GroupFailed& failure) {
        return Error{ErrorCode::unavailable, failure.what()};
    }
    return std::unique_ptr<Group>{std::move(group)};
}

} // namespace muster::collective
