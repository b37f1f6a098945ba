/// StoreServer: serves a StoreTable to the ranks of a job over mutual TLS 1.3.
#pragma once

#include "base/fd.h"
#include "process_group/membership.h"
#include "process_group/served_client.h"
#include "process_group/store_table.h"

#include <functional>
#include <list>
#include <memory>
#include <string>
#include <thread>

namespace muster::process_group {

/// One thread of its own. A client is served once its certificate carries the identity of the very rank that it says
/// it is, and job, generation and number of ranks are ours; it is told why when not. A stranger costs one half-open
/// handshake with a deadline, of which there are a few at most.
class StoreServer {
public:
    /// Takes one sentence about each client that was refused. Called on the server's thread.
    using OnRefusal = std::function<void(const std::string&)>;

    /// Starts to serve on `listener`, a listening socket. Errors: invalid_argument, when the credentials are not.
    [[nodiscard]] static Result<std::unique_ptr<StoreServer>>
    start(const Membership& membership, UniqueFd listener, OnRefusal on_refusal = {});
    /// Ends the connections in an orderly way; requests that wait end without an answer.
    ~StoreServer();
    StoreServer(const StoreServer&) = delete;
    StoreServer& operator=(const StoreServer&) = delete;

private:
    StoreServer(const Membership& membership, UniqueFd listener, tls::Context context, OnRefusal on_refusal);
    void run();
    void step();
    void accept_some();
    void serve(ServedClient& client, bool readable);
    void judge(ServedClient& client, const StoreRequest& hello);
    void answer_waiting();
    [[nodiscard]] int milliseconds_to_wait() const;

    Membership membership_;
    std::string session_; ///< random, the same for all clients of this server
    UniqueFd listener_;
    tls::Context context_;
    OnRefusal on_refusal_;
    StoreTable table_{};
    std::list<std::unique_ptr<ServedClient>> clients_;
    UniqueFd wake_{};
    std::jthread thread_{};
};

} // namespace muster::process_group
