#include "collective/admission.h"

#include "tls/identity.h"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <array>

namespace muster::collective {
namespace {

/// How long a refused peer is listened to, so that the refusal reaches it before the connection ends.
constexpr Duration drain_wait = std::chrono::milliseconds{500};

} // namespace

const short Admission::read_event = POLLIN;
const short Admission::write_event = POLLOUT;

std::string name_of(const std::vector<Member>& members, int rank) {
    if (rank < 0 || static_cast<std::size_t>(rank) >= members.size()) {
        return fmt::format("rank {}", rank);
    }
    return fmt::format("rank {} ({})", rank, members[static_cast<std::size_t>(rank)].name);
}

Admission::Admission(std::unique_ptr<TlsConnection> connection,
                     const GroupSpec& spec,
                     IsFree is_free,
                     std::string remote,
                     Deadline deadline)
    : connection_{std::move(connection)}, spec_{spec}, is_free_{std::move(is_free)}, remote_{std::move(remote)},
      deadline_{deadline}, dialled_{false} {}

Admission::Admission(
    std::unique_ptr<TlsConnection> connection, const GroupSpec& spec, Edge edge, std::string remote, Deadline deadline)
    : connection_{std::move(connection)}, spec_{spec}, remote_{std::move(remote)}, deadline_{deadline}, dialled_{true},
      edge_{edge} {}

std::string Admission::who() const {
    if (dialled_) {
        return fmt::format("{} at {}", name_of(spec_.members, edge_.peer), remote_);
    }
    return identity_.empty() ? remote_ : fmt::format("{} at {}", identity_, remote_);
}

Hello Admission::own_hello(int peer, int lane) const {
    return {.job = spec_.job,
            .generation = spec_.generation,
            .plan_digest = spec_.plan_digest,
            .size = static_cast<std::int32_t>(spec_.members.size()),
            .rank = spec_.rank,
            .peer_rank = peer,
            .lane = lane,
            .stripes = spec_.stripes,
            .segment_bytes = spec_.segment_bytes,
            .tuning = hash_of(spec_.tuning)};
}

void Admission::advance() {
    bool moving = true;
    while (moving && !over()) {
        switch (state_) {
        case State::handshake:
            moving = step_handshake();
            break;
        case State::read_hello:
            moving = step_read();
            break;
        case State::write:
            moving = step_write();
            break;
        case State::drain:
            moving = step_drain();
            break;
        case State::admitted:
        case State::refused:
            break;
        }
    }
}

void Admission::give_up(const std::string& reason) {
    if (state_ == State::drain || !reason_.empty()) {
        state_ = State::refused;
    } else if (!over()) {
        fail(reason, true);
    }
}

bool Admission::wait_for(IoStatus status) {
    wants_write_ = status == IoStatus::want_write;
    return status == IoStatus::want_read || status == IoStatus::want_write;
}

bool Admission::step_handshake() {
    const auto status = connection_->handshake();
    if (wait_for(status)) {
        return false;
    }
    if (status != IoStatus::done) {
        fail("TLS handshake: " + connection_->explain(), status != IoStatus::failed);
        return false;
    }
    after_handshake();
    return true;
}

void Admission::after_handshake() {
    const auto identity = tls::peer_identity(connection_->native());
    if (!identity) {
        return refuse(identity.error().message);
    }
    identity_ = identity->uri;
    if (!dialled_) {
        if (std::ranges::find(spec_.members, identity_, &Member::identity) == spec_.members.end()) {
            return refuse(fmt::format(
                "wrong SAN: '{}' is not a member of this group; use the certificate that was issued for this job",
                identity_));
        }
        in_.resize(hello_head_bytes);
        state_ = State::read_hello;
        return;
    }
    const auto& expected = spec_.members[static_cast<std::size_t>(edge_.peer)].identity;
    if (identity_ != expected) {
        return refuse(fmt::format("wrong SAN: the certificate says '{}', the roster says '{}'; check the roster's "
                                  "address, or issue the certificate anew",
                                  identity_,
                                  expected));
    }
    in_.resize(hello_head_bytes);
    say(encode(HelloKind::hello, own_hello(edge_.peer, edge_.lane)), State::read_hello);
}

bool Admission::step_read() {
    while (in_done_ < in_.size()) {
        const auto result = connection_->read(std::span{in_}.subspan(in_done_));
        if (wait_for(result.status)) {
            return false;
        }
        if (result.status != IoStatus::done) {
            // In TLS 1.3 a client learns only here that the server refused its certificate.
            fail(connection_->explain(), result.status != IoStatus::failed);
            return false;
        }
        in_done_ += result.bytes;
    }
    if (!head_read_) {
        const auto head = decode_head(std::span{in_}.first<hello_head_bytes>());
        if (!head) {
            refuse(head.error().message);
            return true;
        }
        head_ = *head;
        head_read_ = true;
        in_.assign(head->body_bytes, std::byte{});
        in_done_ = 0;
        return true;
    }
    on_message();
    return true;
}

void Admission::on_message() {
    if (head_.kind == HelloKind::refusal) {
        const auto refusal = decode_refusal(in_);
        return fail(refusal ? "it refused this rank: " + refusal->text : refusal.error().message,
                    refusal && refusal->later);
    }
    if (head_.kind != (dialled_ ? HelloKind::welcome : HelloKind::hello)) {
        return refuse("hello and welcome in the wrong order");
    }
    const auto theirs = decode_hello(in_);
    if (!theirs) {
        return refuse(theirs.error().message);
    }
    const auto verdict = compare(*theirs, own_hello(theirs->rank, theirs->lane));
    if (!verdict.text.empty()) {
        return refuse(verdict.text, verdict.later);
    }
    if (dialled_) {
        judge_welcome(*theirs);
    } else {
        judge_hello(*theirs);
    }
}

void Admission::judge_welcome(const Hello& theirs) {
    if (theirs.rank != edge_.peer || theirs.lane != edge_.lane) {
        return refuse(fmt::format("answers as rank {}", theirs.rank));
    }
    state_ = State::admitted;
}

void Admission::judge_hello(const Hello& theirs) {
    const auto& expected = spec_.members[static_cast<std::size_t>(theirs.rank)].identity;
    if (identity_ != expected) {
        return refuse(fmt::format(
            "wrong SAN: claims rank {}, which is '{}', with a certificate for '{}'", theirs.rank, expected, identity_));
    }
    if (theirs.rank > spec_.rank) {
        return refuse(fmt::format("rank {} must not dial this connection", theirs.rank));
    }
    edge_ = {theirs.rank, theirs.lane};
    if (!is_free_(edge_)) {
        return refuse(fmt::format("rank {} is connected already (replayed or second hello)", theirs.rank));
    }
    say(encode(HelloKind::welcome, own_hello(theirs.rank, theirs.lane)), State::admitted);
}

void Admission::say(std::vector<std::byte> bytes, State next) {
    out_ = std::move(bytes);
    out_done_ = 0;
    after_write_ = next;
    state_ = State::write;
}

bool Admission::step_write() {
    while (out_done_ < out_.size()) {
        const auto result = connection_->write(std::span{out_}.subspan(out_done_));
        if (wait_for(result.status)) {
            return false;
        }
        if (result.status != IoStatus::done) {
            // The reason may lie in the receive buffer, as an alert or a refusal.
            if (dialled_ && reason_.empty()) {
                state_ = State::read_hello;
                return true;
            }
            fail(connection_->explain(), true);
            return false;
        }
        out_done_ += result.bytes;
    }
    state_ = after_write_;
    if (state_ == State::drain) {
        connection_->finish();
        deadline_ = Deadline::after(drain_wait);
    }
    return true;
}

bool Admission::step_drain() {
    std::array<std::byte, 1024> ignored{};
    const auto result = connection_->read(ignored);
    if (wait_for(result.status)) {
        return false;
    }
    if (result.status != IoStatus::done) {
        state_ = State::refused;
    }
    return true;
}

void Admission::refuse(std::string reason, bool later) {
    reason_ = fmt::format("refused {}: {}", who(), reason);
    may_retry_ = later;
    say(encode(Refusal{later, std::move(reason)}), State::drain);
}

void Admission::fail(std::string reason, bool may_retry) {
    if (reason_.empty()) {
        reason_ = fmt::format("{}: {}", who(), reason);
        may_retry_ = may_retry;
    }
    state_ = State::refused;
}

} // namespace muster::collective
