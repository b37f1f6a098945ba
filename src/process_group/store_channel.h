/// StoreChannel: the client's side of a store: connections to rank 0, and one request at a time on each.
#pragma once

#include "base/clock.h"
#include "base/guarded.h"
#include "collective/connection.h"
#include "process_group/membership.h"
#include "process_group/store_messages.h"
#include "process_group/store_server.h"

#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

namespace muster::process_group {

/// Throws a c10::DistStoreError with `text`.
[[noreturn]] void fail_in_store(const std::string& text);

/// The connections of a store and its clones. Safe from any thread: each request takes an idle connection or dials one.
/// Everything throws c10::DistStoreError.
class StoreChannel {
public:
    /// `address`: "host:port" of rank 0's store. `server` is kept as long as the channel.
    StoreChannel(Membership membership, std::string address, std::shared_ptr<StoreServer> server);

    /// Dials until rank 0 listens: it may be the last to start.
    void connect(Deadline deadline);
    /// Asks, and waits for the answer a little longer than the request's patience.
    [[nodiscard]] StoreReply ask(const StoreRequest& request);

    /// "the store of rank 0 (...) at host:port"
    [[nodiscard]] std::string who() const;
    /// What the server has drawn. Known after connect().
    [[nodiscard]] const std::string& session() const { return session_; }
    /// This machine's address on the way to rank 0. Known after connect().
    [[nodiscard]] const std::string& own_host() const { return own_host_; }
    [[nodiscard]] const Membership& membership() const { return membership_; }

private:
    using Connection = collective::TlsConnection;
    using ConnectionPtr = std::unique_ptr<Connection>;

    ConnectionPtr take();
    void give_back(ConnectionPtr connection);
    ConnectionPtr dial(Deadline deadline, std::string& why);
    bool greet(Connection& connection, const std::string& host, Deadline deadline, std::string& why);

    Membership membership_;
    std::string address_;
    std::shared_ptr<StoreServer> server_;
    tls::Context context_;
    Guarded<std::vector<ConnectionPtr>> idle_{};
    std::mutex first_mutex_{};
    std::string session_{};
    std::string own_host_{};
};

} // namespace muster::process_group
