/// The function's side of the control channel, and its blob uploads.
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "model/messages.h"

#include <filesystem>
#include <string>

namespace muster {

/// Sends to the producer. Safe from any thread; never blocks, except upload.
class ProducerLink {
public:
    virtual ~ProducerLink() = default;
    /// Queues a message; what is queued while the connection is down is sent after the next Hello.
    /// Errors: resource_exhausted, when the queue is full.
    virtual Result<void> send(const FromFunction& message) = 0;
    /// Uploads a file as the blob named by its SHA-256, resuming what is there already; repeats are harmless.
    /// Errors: unavailable, deadline_exceeded, permission_denied.
    virtual Result<void> upload(const std::filesystem::path& file, const std::string& sha256, Deadline deadline) = 0;
};

/// What the link tells the agent. Called from the link's thread; implementations only queue.
class ProducerEvents {
public:
    virtual ~ProducerEvents() = default;
    /// The connection stands; the link has received Welcome. The agent answers with Hello through send_hello.
    virtual Hello make_hello() = 0;
    virtual Heartbeat make_heartbeat() = 0;
    virtual void on_message(ToFunction message) = 0;
    virtual void on_disconnected(const std::string& reason) = 0;
};

} // namespace muster
