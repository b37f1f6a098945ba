/// Connection: the bytes between two ranks, on a non-blocking socket. In the product there is TlsConnection only.
#pragma once

#include "base/clock.h"
#include "base/fd.h"
#include "tls/context.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace muster::collective {

/// What came of an attempt to read or write.
enum class IoStatus {
    done,       ///< some bytes were moved
    want_read,  ///< try again when the socket is readable
    want_write, ///< try again when the socket is writable
    closed,     ///< the peer said close_notify: an orderly end
    cut,        ///< the socket ended without close_notify, or was reset
    failed,     ///< TLS refused what came, e.g. a wrong record or certificate
};

struct IoResult {
    IoStatus status{};
    std::size_t bytes{};
};

/// Bytes of both directions on the wire, TLS included. Readable from any thread.
struct WireCounters {
    std::atomic<std::int64_t> sent{0};
    std::atomic<std::int64_t> received{0};
};

/// A connection between two members. All calls from one thread at a time; shut_down(), counters() and fd() from any
/// thread while the object lives.
class Connection {
public:
    Connection() = default;
    virtual ~Connection() = default;
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    /// Reads at least one byte into `buffer` (not empty).
    [[nodiscard]] virtual IoResult read(std::span<std::byte> buffer) = 0;
    /// Writes a first part of `data` (not empty). After want_write the next call must begin with the same bytes.
    [[nodiscard]] virtual IoResult write(std::span<const std::byte> data) = 0;
    /// Says that nothing more comes, as far as the socket takes it now, and ends the sending direction.
    virtual void finish() = 0;
    /// Ends both directions of the socket at once; whoever polls it wakes up.
    virtual void shut_down() const = 0;
    /// Says why the last call returned closed, cut or failed, in plain words.
    [[nodiscard]] virtual std::string explain() = 0;

    [[nodiscard]] virtual int fd() const = 0;
    /// When bytes came last.
    [[nodiscard]] virtual SteadyTime last_received() const = 0;
    /// Protocol version and cipher suite.
    [[nodiscard]] virtual std::string cipher() const = 0;
    /// Until when the peer's certificate is valid.
    [[nodiscard]] virtual WallTime certificate_expires() const = 0;
    [[nodiscard]] virtual const WireCounters& counters() const = 0;
};

/// TLS 1.3 with mutual authentication, on OpenSSL.
class TlsConnection final : public Connection {
public:
    enum class Side { server, client };

    /// Takes a connected socket and makes it non-blocking.
    TlsConnection(UniqueFd socket, const tls::Context& context, Side side);
    ~TlsConnection() override;

    /// Does a part of the handshake. done: it is complete. Before that nothing can be written.
    [[nodiscard]] IoStatus handshake();
    [[nodiscard]] ssl_st* native() const { return ssl_; }

    [[nodiscard]] IoResult read(std::span<std::byte> buffer) override;
    [[nodiscard]] IoResult write(std::span<const std::byte> data) override;
    void finish() override;
    void shut_down() const override;
    [[nodiscard]] std::string explain() override;
    [[nodiscard]] int fd() const override { return socket_.get(); }
    [[nodiscard]] SteadyTime last_received() const override { return last_received_; }
    [[nodiscard]] std::string cipher() const override;
    [[nodiscard]] WallTime certificate_expires() const override;
    [[nodiscard]] const WireCounters& counters() const override { return counters_; }

    /// The socket as OpenSSL's BIO sees it; for connection.cpp alone.
    struct Wire {
        int fd{-1};
        bool ended{false};
        int error{0};
        WireCounters* counters{};
        std::vector<char> batch{}; ///< records that are sent together
        std::size_t batch_sent{0};
        bool gathers{false};
    };

private:
    IoStatus status_of(int result);
    IoStatus gather(std::span<const std::byte> data);

    UniqueFd socket_;
    WireCounters counters_{};
    Wire wire_;
    tls::Context context_;
    ssl_st* ssl_;
    int ssl_error_{0};
    bool handshaken_{false};
    std::uint64_t bytes_under_key_{0};
    std::size_t gathered_{0};   ///< of the caller's data, encrypted into the batch
    bool write_pending_{false}; ///< a batch waits for room in the socket
    SteadyTime last_received_;
};

} // namespace muster::collective
