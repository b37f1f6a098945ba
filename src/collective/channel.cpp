#include "collective/channel.h"

#include "base/assert.h"

#include <fmt/format.h>

#include <algorithm>

namespace muster::collective {
namespace {

/// How long a rank that lost a connection looks for the word of those who know more.
constexpr Duration word_wait = std::chrono::milliseconds{40};
constexpr Duration announce_after_max = std::chrono::milliseconds{500};

double seconds(Duration duration) {
    return std::chrono::duration<double>(duration).count();
}

int place_in(const std::vector<int>& ranks, int rank) {
    return static_cast<int>(std::ranges::find(ranks, rank) - ranks.begin());
}

} // namespace

Channel::Channel(std::shared_ptr<Mesh> mesh, std::uint64_t id, std::vector<int> ranks)
    : mesh_{std::move(mesh)}, id_{id}, ranks_{std::move(ranks)}, rank_{place_in(ranks_, mesh_->rank())} {
    MUSTER_ASSERT(rank_ < size());
}

Channel::~Channel() {
    // What the others say of the mesh's end must still be heard by its sub-groups.
    for (int lane = 0; id_ != 0 && lane < mesh_->lanes(); ++lane) {
        mesh_->lane(lane).close(id_);
    }
}

Duration Channel::announce_after() const {
    return std::min<Duration>(mesh_->operation_timeout() / 8, announce_after_max);
}

int Channel::number_of(int mesh_rank) const {
    const int place = place_in(ranks_, mesh_rank);
    return place < size() ? place : -1;
}

std::uint64_t Channel::moved() {
    std::uint64_t sum = 0;
    for (int lane = 0; lane < mesh_->lanes(); ++lane) {
        sum += mesh_->lane(lane).moved(id_);
    }
    return sum;
}

Patience Channel::patience_for(const Call& call) {
    const auto now = std::chrono::steady_clock::now();
    return {.call = call,
            .began = now,
            .silent_at = now + mesh_->operation_timeout(),
            .announce_at = now + announce_after(),
            .moved = moved()};
}

void Channel::begin(Call call, std::optional<Deadline> deadline) {
    call.sequence = ++sequence_;
    current_ = patience_for(call);
    if (deadline) {
        current_.silent_at = deadline->at();
        current_.fixed = true;
    }
    for (int lane = 0; lane < mesh_->lanes(); ++lane) {
        mesh_->lane(lane).begin_call(id_, call);
    }
    judge(call);
}

void Channel::end() {
    for (int lane = 0; lane < mesh_->lanes(); ++lane) {
        mesh_->lane(lane).end_call(id_);
    }
    if (current_.announced) {
        announce(current_, waits_no_more);
    }
    judge(current_.call);
}

void Channel::send(Sending& sending, int to, Step step, std::span<const std::byte> payload) {
    mesh_->lane(0).send(sending, id_, mesh_rank(to), current_.call, step, payload);
}

void Channel::send_granted(Sending& sending, int to, Step step, std::span<const std::byte> payload, int lane) {
    mesh_->lane(lane).send(sending, id_, mesh_rank(to), current_.call, step, payload, Lane::Mode::granted);
}

void Channel::receive(Receiving& receiving, int from, Step step, std::span<std::byte> place, int lane) {
    mesh_->lane(lane).receive(receiving, id_, mesh_rank(from), current_.call, step, place);
}

void Channel::grant_call(int from) {
    for (int lane = 0; lane < mesh_->lanes(); ++lane) {
        mesh_->lane(lane).grant_call(id_, mesh_rank(from), current_.call);
    }
}

void Channel::wait(const Sending& sending, int to) {
    wait(sending, to, current_);
}

void Channel::wait(const Receiving& receiving, int from) {
    wait(receiving, from, current_);
}

void Channel::wait(const Sending& sending, int to, Patience& patience) {
    wait_until(patience, to, [&] { return sending.done(); });
}

void Channel::wait(const Receiving& receiving, int from, Patience& patience) {
    wait_until(patience, from, [&] { return receiving.done(); });
}

void Channel::send_transfer(Sending& sending, int to, std::uint64_t tag, std::span<const std::byte> payload) {
    const Call call{.collective = Collective::transfer, .sequence = tag, .bytes = payload.size()};
    judge(call);
    mesh_->lane(0).send(sending, id_, mesh_rank(to), call, 0, payload);
}

void Channel::receive_transfer(Receiving& receiving, int from, std::uint64_t tag, std::span<std::byte> place) {
    const Call call{.collective = Collective::transfer, .sequence = tag, .bytes = place.size()};
    judge(call);
    mesh_->lane(0).receive(receiving, id_, mesh_rank(from), call, 0, place);
}

void Channel::nudge(const Patience& patience) {
    judge(patience.call);
    auto& lane = mesh_->lane(0);
    lane.turn(std::chrono::steady_clock::now(), lane.changes());
    judge(patience.call);
}

void Channel::wait(int target, const std::function<bool()>& done) {
    wait_until(current_, target, done);
}

void Channel::wait_until(Patience& patience, int target, const std::function<bool()>& done) {
    auto& lane = mesh_->lane(0);
    for (;;) {
        const auto seen = lane.changes();
        if (done()) {
            return;
        }
        judge(patience.call);
        if (target >= 0 && lane.troubled() && lane.left(mesh_rank(target)) && !done()) {
            lost(mesh_rank(target), "left the group", patience.call);
        }
        const auto waited = lane.turn(std::min(patience.silent_at, patience.announce_at), seen);
        mesh_->add_wait(mesh_rank(target), waited);
        if (std::chrono::steady_clock::now() >= std::min(patience.silent_at, patience.announce_at) && !done()) {
            look_at_the_clock(patience, target);
        }
    }
}

/// Nobody is silent while something moves.
void Channel::look_at_the_clock(Patience& patience, int target) {
    const auto now = std::chrono::steady_clock::now();
    const auto moved_now = moved();
    const bool moves = std::exchange(patience.moved, moved_now) != moved_now;
    if (moves && !patience.fixed) {
        patience.silent_at = now + mesh_->operation_timeout();
    } else if (now >= patience.silent_at) {
        judge(patience.call);
        timed_out(patience, target);
    }
    patience.announce_at = now + announce_after();
    if (moves == patience.announced) {
        patience.announced = !moves;
        announce(patience, moves ? waits_no_more : mesh_rank(target));
    } else if (!moves) {
        announce(patience, mesh_rank(target));
    }
}

/// Ranks that are not in the group hear of it as well: they may wait for this one in another group.
void Channel::announce(const Patience& patience, int mesh_target) {
    const auto payload = encode_waiting(mesh_target);
    for (int peer = 0; peer < mesh_->size(); ++peer) {
        if (peer == mesh_->rank()) {
            continue;
        }
        const bool member = number_of(peer) >= 0;
        mesh_->lane(0).send_control({.kind = FrameKind::waiting,
                                     .call = member ? patience.call : Call{},
                                     .channel = member ? id_ : 0,
                                     .message_bytes = payload.size(),
                                     .payload_bytes = static_cast<std::uint32_t>(payload.size())},
                                    peer,
                                    payload);
    }
}

void Channel::judge(const Call& call) {
    if (mesh_->failed()) {
        fail(*mesh_->failure());
    }
    if (failed_.load(std::memory_order_acquire)) {
        fail({});
    }
    for (int i = 0; i < mesh_->lanes(); ++i) {
        auto& lane = mesh_->lane(i);
        if (!lane.troubled()) {
            continue;
        }
        if (auto failure = lane.told(0)) {
            fail(mesh_->fail(std::move(*failure)));
        }
        if (auto failure = lane.told(id_)) {
            fail(record(std::move(*failure), false));
        }
        if (const auto broken = lane.broken()) {
            lost(broken->first, broken->second, call);
        }
        if (const auto clash = lane.clash(id_)) {
            clashed(*clash, call);
        }
    }
}

void Channel::lost(int mesh_rank, const std::string& how, const Call& call) {
    // Whoever ends a group says why first.
    const auto until = Deadline::after(word_wait);
    auto& lane = mesh_->lane(0);
    for (;;) {
        const auto seen = lane.changes();
        if (auto failure = mesh_->failure()) {
            fail(std::move(*failure));
        }
        if (auto failure = lane.told(0)) {
            fail(mesh_->fail(std::move(*failure)));
        }
        if (until.passed()) {
            break;
        }
        lane.turn(until.at(), seen);
    }
    fail(mesh_->fail({mesh_rank, fmt::format("{}: {}, in {}", mesh_->name(mesh_rank), how, text_of(call))}));
}

/// Whom the rank waits for, in this group or in another one. None: it does not say that it waits.
std::optional<int> Channel::target_of(int peer) {
    const auto fresh_after = std::chrono::steady_clock::now() - 3 * announce_after();
    // It may still be in an earlier operation than this rank, or in another group.
    for (const auto& waiting : {mesh_->lane(0).waiting(id_, peer), mesh_->lane(0).latest_waiting(peer)}) {
        const bool waits = waiting && waiting->at >= fresh_after && waiting->target >= any_peer;
        if (waits && waiting->target < mesh_->size()) {
            return waiting->target;
        }
    }
    return {};
}

/// Follows who waits for whom to those who do not say that they wait; of these the one that was silent for longest.
/// any_peer when there is none.
int Channel::silent_one(int mesh_target) {
    std::vector<bool> seen(static_cast<std::size_t>(mesh_->size()));
    seen[static_cast<std::size_t>(mesh_->rank())] = true;
    std::vector<int> suspects{mesh_target};
    if (mesh_target == any_peer) {
        suspects = ranks_;
    }
    int found = any_peer;
    while (!suspects.empty()) {
        const int suspect = suspects.back();
        suspects.pop_back();
        if (seen[static_cast<std::size_t>(suspect)]) {
            continue;
        }
        seen[static_cast<std::size_t>(suspect)] = true;
        const auto target = target_of(suspect);
        if (target == any_peer) { // Of which group is not known here.
            for (int rank = 0; rank < mesh_->size(); ++rank) {
                suspects.push_back(rank);
            }
        } else if (target) {
            suspects.push_back(*target);
        } else if (found == any_peer || mesh_->lane(0).last_received(suspect) < mesh_->lane(0).last_received(found)) {
            found = suspect;
        }
    }
    return found;
}

void Channel::timed_out(const Patience& patience, int target) {
    const auto now = std::chrono::steady_clock::now();
    const int culprit = silent_one(mesh_rank(target));
    if (culprit < 0) {
        fail(record({-1,
                     fmt::format("{} did not end within {:.1f} s although no rank is silent: {} waits for {}",
                                 text_of(patience.call),
                                 seconds(now - patience.began),
                                 mesh_->name(mesh_->rank()),
                                 target < 0 ? "any rank" : mesh_->name(mesh_rank(target)))},
                    true));
    }
    auto heard = SteadyTime::min();
    for (int lane = 0; lane < mesh_->lanes(); ++lane) {
        heard = std::max(heard, mesh_->lane(lane).last_received(culprit));
    }
    const auto silence = now - heard;
    const auto since =
        std::chrono::system_clock::now() - std::chrono::duration_cast<std::chrono::system_clock::duration>(silence);
    fail(record({culprit,
                 fmt::format("{} is silent since {} ({:.1f} s), in {} after {:.1f} s",
                             mesh_->name(culprit),
                             rfc3339(since),
                             seconds(silence),
                             text_of(patience.call),
                             seconds(now - patience.began))},
                true));
}

void Channel::clashed(const Clash& clash, const Call& call) {
    const auto peer = mesh_->name(clash.peer);
    const auto self = mesh_->name(mesh_->rank());
    switch (clash.kind) {
    case Clash::Kind::other_size:
        fail(record({clash.peer,
                     fmt::format("{} sends {} bytes in {}, where {} expects {}",
                                 peer,
                                 clash.sent,
                                 text_of(clash.theirs),
                                 self,
                                 clash.expected)},
                    true));
    case Clash::Kind::out_of_order:
        fail(
            record({clash.peer, fmt::format("{} sent a frame out of order in {}", peer, text_of(clash.theirs))}, true));
    case Clash::Kind::went_on:
        fail(record({clash.peer,
                     fmt::format("ranks call different collectives: {} went on to {} and has not sent what {} expects "
                                 "in {}",
                                 peer,
                                 text_of(clash.theirs),
                                 self,
                                 text_of(call))},
                    true));
    case Clash::Kind::other_call:
        break;
    }
    fail(record({clash.peer,
                 fmt::format("ranks call different collectives: {} calls {}, {} calls {}",
                             peer,
                             text_of(clash.theirs),
                             self,
                             text_of(clash.ours))},
                true));
}

/// Makes it the group's failure, unless there is one already, and returns that. `tells`: the other ranks hear of it.
Failure Channel::record(Failure failure, bool tells) {
    if (id_ == 0) {
        return mesh_->fail(std::move(failure));
    }
    {
        const std::scoped_lock lock{mutex_};
        if (failure_) {
            return *failure_;
        }
        failure_ = failure;
    }
    failed_.store(true, std::memory_order_release);
    for (int lane = 0; lane < mesh_->lanes(); ++lane) {
        mesh_->lane(lane).drop(id_);
    }
    const auto payload = encode(failure);
    for (const int peer : ranks_) {
        if (tells && peer != mesh_->rank()) {
            mesh_->lane(0).send_control({.kind = FrameKind::abort,
                                         .channel = id_,
                                         .message_bytes = payload.size(),
                                         .payload_bytes = static_cast<std::uint32_t>(payload.size())},
                                        peer,
                                        payload);
        }
    }
    mesh_->lane(0).wake();
    return failure;
}

void Channel::fail(Failure failure) {
    {
        const std::scoped_lock lock{mutex_};
        if (failure_) {
            failure = *failure_;
        }
    }
    throw GroupFailed{failure.text, number_of(failure.culprit)};
}

void Channel::abort(const std::string& reason) {
    (void)record({mesh_->rank(), fmt::format("{} aborted the group: {}", mesh_->name(mesh_->rank()), reason)}, true);
}

void Channel::abandon() noexcept {
    (void)record(
        {mesh_->rank(), fmt::format("{} left {} in the middle", mesh_->name(mesh_->rank()), text_of(current_.call))},
        true);
}

} // namespace muster::collective
