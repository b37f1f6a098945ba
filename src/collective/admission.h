/// Admission: one connection on its way from a bare socket to a member of the group.
///
/// handshake, then hello and welcome. The peer's certificate must carry the roster's identity for the very rank that
/// the hello claims; whoever is not admitted is told why before the connection ends.
#pragma once

#include "base/clock.h"
#include "collective/connection.h"
#include "collective/group.h"
#include "collective/hello.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace muster::collective {

/// One connection of one peer.
struct Edge {
    int peer{-1};
    int lane{0}; ///< the higher of two ranks accepts, the lower one dials

    bool operator==(const Edge&) const = default;
};

/// Returns "rank 2 (SubNetwork=1,...)".
[[nodiscard]] std::string name_of(const std::vector<Member>& members, int rank);

/// One thread. The spec outlives it.
class Admission {
public:
    enum class State { handshake, read_hello, write, drain, admitted, refused };
    /// Says whether an edge is still free; only asked when everything else is in order.
    using IsFree = std::function<bool(Edge)>;

    /// A connection that was accepted. `remote` is its address, for people.
    Admission(std::unique_ptr<TlsConnection> connection,
              const GroupSpec& spec,
              IsFree is_free,
              std::string remote,
              Deadline deadline);
    /// A connection that was dialled for `edge`.
    Admission(std::unique_ptr<TlsConnection> connection,
              const GroupSpec& spec,
              Edge edge,
              std::string remote,
              Deadline deadline);

    /// Goes as far as the socket allows now.
    void advance();
    /// Gives up, e.g. at the deadline.
    void give_up(const std::string& reason);

    [[nodiscard]] State state() const { return state_; }
    [[nodiscard]] bool over() const { return state_ == State::admitted || state_ == State::refused; }
    /// What poll() should wait for.
    [[nodiscard]] short events() const { return wants_write_ ? write_event : read_event; }
    [[nodiscard]] int fd() const { return connection_->fd(); }
    [[nodiscard]] const Deadline& deadline() const { return deadline_; }
    [[nodiscard]] Edge edge() const { return edge_; }
    /// Why it was refused, by whom: a whole sentence.
    [[nodiscard]] const std::string& reason() const { return reason_; }
    /// True when the same attempt may succeed later.
    [[nodiscard]] bool may_retry() const { return may_retry_; }
    /// The connection, after it was admitted.
    [[nodiscard]] std::unique_ptr<TlsConnection> take() { return std::move(connection_); }

private:
    static const short read_event;
    static const short write_event;

    void after_handshake();
    void on_message();
    void judge_hello(const Hello& theirs);
    void judge_welcome(const Hello& theirs);
    void admit_if_identity_matches(const Hello& theirs);
    [[nodiscard]] Hello own_hello(int peer, int lane) const;
    [[nodiscard]] std::string who() const;
    void say(std::vector<std::byte> bytes, State next);
    void refuse(std::string reason, bool later = false);
    void fail(std::string reason, bool may_retry);
    bool step_handshake();
    bool step_read();
    bool step_write();
    bool step_drain();
    bool wait_for(IoStatus status);

    std::unique_ptr<TlsConnection> connection_;
    const GroupSpec& spec_;
    IsFree is_free_{};
    std::string remote_;
    Deadline deadline_;
    bool dialled_;
    Edge edge_{};
    std::string identity_{};
    State state_{State::handshake};
    State after_write_{State::handshake};
    std::vector<std::byte> out_{};
    std::size_t out_done_{0};
    std::vector<std::byte> in_{};
    std::size_t in_done_{0};
    bool head_read_{false};
    HelloHead head_{};
    bool wants_write_{false};
    bool may_retry_{false};
    std::string reason_{};
};

} // namespace muster::collective
