/// The function's end of the control channel: dials out, comes back, and loses no message on the way.
#pragma once

#include "link/control_dialer.h"
#include "port/producer_link.h"
#include "tls/context.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>

namespace muster::link {

struct ProducerClientSettings {
    Url producer;
    std::chrono::milliseconds connect_max{10'000}; ///< from dialling to Welcome
    std::chrono::milliseconds backoff_first{100};  ///< pause before the second attempt; doubles, with jitter
    std::chrono::milliseconds backoff_longest{5'000};
    /// A producer that does not even answer pings for so long is given up, and dialled anew.
    std::chrono::milliseconds producer_silent_max{6'000};
    std::size_t queue_messages_max{4'096}; ///< not acknowledged yet
    std::size_t queue_bytes_max{32U << 20U};
    std::size_t upload_chunk_bytes{1U << 20U};
};

/// Implements ProducerLink. What send() has taken is kept until the producer acknowledges it, and sent again after a
/// new Hello. A producer with a lower epoch than one seen before is refused. Safe from any thread.
class ProducerClient final : public ProducerLink {
public:
    /// `context` is asked before each connection, so that a renewed certificate is used from the next one on.
    /// `epoch_seen` is the highest epoch known from before (0: none). `events` outlives this.
    ProducerClient(ProducerClientSettings settings,
                   std::function<tls::Context()> context,
                   std::int64_t epoch_seen,
                   ProducerEvents& events);
    ~ProducerClient() override;

    /// Starts dialling. Call once.
    void start();
    /// Sends what is queued if it can be sent before the deadline, and ends. Harmless twice.
    void stop(Deadline deadline);

    /// Errors: also invalid_argument, when the message is too long for a frame.
    Result<void> send(const FromFunction& message) override;
    Result<void> download(const std::string& sha256,
                          const std::filesystem::path& file,
                          std::int64_t bytes_max,
                          Deadline deadline) override;
    Result<void> upload(const std::filesystem::path& file, const std::string& sha256, Deadline deadline) override;

    /// Highest epoch seen, to be remembered over a restart.
    [[nodiscard]] std::int64_t epoch() const;
    /// Says whether Hello was sent on a connection that still stands.
    [[nodiscard]] bool connected() const;

private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

} // namespace muster::link
