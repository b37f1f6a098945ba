/// Connection: one TLS 1.3 connection between two ranks, on a non-blocking socket.
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

/// One TLS connection. All calls from one thread at a time; shut_down() from any thread while the object lives.
class Connection {
public:
    enum class Side { server, client };

    /// Takes a connected socket and makes it non-blocking. `counters` outlives the connection.
    Connection(UniqueFd socket, const tls::Context& context, Side side, WireCounters& counters);
    ~Connection();
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    /// Does a part of the handshake. done: it is complete.
    [[nodiscard]] IoStatus handshake();
    /// Reads at least one byte into `buffer` (not empty).
    [[nodiscard]] IoResult read(std::span<std::byte> buffer);
    /// Writes a first part of `data` (not empty). After want_write the next call must begin with the same bytes.
    [[nodiscard]] IoResult write(std::span<const std::byte> data);
    /// Says close_notify as far as the socket takes it now, and ends the sending direction.
    void finish();
    /// Ends both directions of the socket at once; whoever polls it wakes up.
    void shut_down() const;

    /// Says why the last call returned closed, cut or failed, in plain words.
    [[nodiscard]] std::string explain();

    [[nodiscard]] int fd() const { return socket_.get(); }
    [[nodiscard]] ssl_st* native() const { return ssl_; }
    [[nodiscard]] SteadyTime last_received() const { return last_received_; }
    [[nodiscard]] std::string cipher() const;

    /// The socket as OpenSSL's BIO sees it; for connection.cpp alone.
    struct Wire {
        int fd{-1};
        bool ended{false};
        int error{0};
        WireCounters* counters{};
    };

private:
    IoStatus status_of(int result);

    UniqueFd socket_;
    Wire wire_;
    tls::Context context_;
    ssl_st* ssl_;
    int ssl_error_{0};
    bool handshaken_{false};
    std::uint64_t bytes_under_key_{0};
    bool write_pending_{false};
    SteadyTime last_received_;
};

} // namespace muster::collective
