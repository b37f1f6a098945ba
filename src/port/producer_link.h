/// The function's side of the control channel, and its blobs.
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "model/messages.h"

#include <cstdint>
#include <filesystem>
#include <string>

namespace muster {

/// Sends to the producer. Safe from any thread; never blocks, except upload and download.
class ProducerLink {
public:
    virtual ~ProducerLink() = default;
    /// Queues a message; what is queued while the connection is down is sent after the next Hello.
    /// Errors: resource_exhausted, when the queue is full.
    virtual Result<void> send(const FromFunction& message) = 0;
    /// Downloads the blob of that SHA-256 into `file` (replaced), whose digest the caller has to check. The producer
    /// gives a function the program of a job that it is in.
    /// Errors: permission_denied, not_found, resource_exhausted (more than `bytes_max`), unavailable,
    /// deadline_exceeded.
    virtual Result<void> download(const std::string& sha256,
                                  const std::filesystem::path& file,
                                  std::int64_t bytes_max,
                                  Deadline deadline) = 0;
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
