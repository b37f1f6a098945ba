/// Plain TCP connections under the engine of the collectives, for the bench alone: no peer is checked, nothing is
/// encrypted.
#pragma once

#include "collective/join.h"

namespace muster::bench {

/// A connected socket as the engine sees it.
class PlainConnection final : public collective::Connection {
public:
    /// Makes the socket non-blocking.
    explicit PlainConnection(UniqueFd socket);

    [[nodiscard]] collective::IoResult read(std::span<std::byte> buffer) override;
    [[nodiscard]] collective::IoResult write(std::span<const std::byte> data) override;
    void finish() override;
    void shut_down() const override;
    [[nodiscard]] std::string explain() override { return reason_; }
    [[nodiscard]] int fd() const override { return socket_.get(); }
    [[nodiscard]] SteadyTime last_received() const override { return last_received_; }
    [[nodiscard]] std::string cipher() const override { return "none"; }
    [[nodiscard]] WallTime certificate_expires() const override { return WallTime::max(); }
    [[nodiscard]] const collective::WireCounters& counters() const override { return counters_; }

private:
    collective::IoResult failed(collective::IoStatus again);

    UniqueFd socket_;
    collective::WireCounters counters_{};
    SteadyTime last_received_;
    std::string reason_{};
};

/// As collective::join, without TLS and without checks: each rank dials the higher ones and says who it is.
[[nodiscard]] Result<collective::Edges>
join_plain(const collective::GroupSpec& spec, int listener, collective::Dialer& dialer, Deadline deadline);

} // namespace muster::bench
