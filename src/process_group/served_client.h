/// ServedClient: the server's side of one connection to a store.
#pragma once

#include "base/clock.h"
#include "base/fd.h"
#include "collective/connection.h"
#include "process_group/store_messages.h"
#include "tls/context.h"

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace muster::process_group {

/// Handshake, greeting, then request after request. Reads nothing while a request is being answered, so that a client
/// holds one request's memory. One thread.
class ServedClient {
public:
    enum class State { handshake, head, body, waiting, writing, ended };

    ServedClient(UniqueFd socket, const tls::Context& context);

    std::string remote;                    ///< its address, for people
    bool admitted{false};                  ///< its greeting was found good; the server says so
    Deadline deadline;                     ///< of the greeting, then of a request that waits
    std::optional<StoreRequest> request{}; ///< what waits for an answer
    std::string trouble{};                 ///< why it was refused or cut off; empty after an orderly end

    [[nodiscard]] State state() const { return state_; }
    [[nodiscard]] int fd() const { return connection_.fd(); }
    [[nodiscard]] bool over() const { return state_ == State::ended; }
    /// What poll() should wait for.
    [[nodiscard]] short events() const;
    [[nodiscard]] Result<tls::Identity> identity() { return tls::peer_identity(connection_.native()); }
    /// Says whether a waiting client has hung up.
    [[nodiscard]] bool hung_up() const;

    /// Goes on as far as the socket allows. True when `request` holds a new one.
    bool advance();
    /// Begins to answer the request. `last`: ends after that.
    void reply(const StoreReply& reply, bool last = false);
    void end(std::string why);

private:
    void expect(State next, std::size_t bytes);
    bool pause(collective::IoStatus status);
    bool write_some();
    bool read_some();
    void take_head();
    void take_body();

    collective::TlsConnection connection_;
    State state_{State::handshake};
    StoreHead head_{};
    std::vector<std::byte> in_{};
    std::size_t in_done_{0};
    std::vector<std::byte> out_{};
    std::size_t out_done_{0};
    bool last_{false};
    bool wants_write_{false};
};

} // namespace muster::process_group
