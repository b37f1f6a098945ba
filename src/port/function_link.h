/// The producer's side of the control channel to its training functions.
#pragma once

#include "base/result.h"
#include "model/messages.h"

#include <string>

namespace muster {

/// Sends to functions. Safe from any thread; never blocks.
class FunctionLink {
public:
    virtual ~FunctionLink() = default;
    /// Queues a message to a connected function. Errors: unavailable, when it is not connected or its queue is full.
    virtual Result<void> send(const std::string& dn, const ToFunction& message) = 0;
    [[nodiscard]] virtual bool connected(const std::string& dn) const = 0;
    /// Ends the connection of a function (revoked, quarantined).
    virtual void disconnect(const std::string& dn, const std::string& reason) = 0;
};

/// What the link tells the producer. Called from the link's threads; implementations only queue.
class FunctionEvents {
public:
    virtual ~FunctionEvents() = default;
    /// A message from the function that was authenticated as `dn`; the first is Hello.
    virtual void on_message(const std::string& dn, FromFunction message) = 0;
    /// The connection is gone, or silent for longer than the lost time.
    virtual void on_lost(const std::string& dn, const std::string& reason) = 0;
    /// The function is no longer let in, connected or not: it will not come back. May be said more than once.
    virtual void on_revoked(const std::string& dn, const std::string& reason) = 0;
};

} // namespace muster
