#include "collective/connection.h"

#include "base/assert.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/socket.h>

#include <cerrno>
#include <ctime>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace muster::collective {
namespace {

// RFC 8446 5.5: fewer than 2^24.5 full records under one AES-GCM key; this is a tenth of that.
constexpr std::uint64_t key_bytes_max = std::uint64_t{32} << 30U;
// Several records are read from the socket at once.
constexpr std::size_t read_buffer_bytes = 128U << 10U;
constexpr int unsent_bytes_max = 256 << 10;
// And several are handed to it at once: a call of the system for each costs more than copying it.
constexpr std::size_t record_bytes_max = SSL3_RT_MAX_PLAIN_LENGTH + SSL3_RT_MAX_ENCRYPTED_OVERHEAD;
constexpr std::size_t batch_bytes_max = 8 * record_bytes_max;
// For what OpenSSL says by itself, as the answer to a key update, while a batch waits.
constexpr std::size_t batch_spare_bytes = 1024;

TlsConnection::Wire& wire_of(BIO* bio) {
    return *static_cast<TlsConnection::Wire*>(BIO_get_data(bio));
}

enum class Sent { some, again, broken };

Sent send_some(TlsConnection::Wire& wire, const char* data, std::size_t size, std::size_t& sent) {
    const auto result = ::send(wire.fd, data, size, MSG_NOSIGNAL);
    if (result >= 0) {
        sent = static_cast<std::size_t>(result);
        wire.counters->sent.fetch_add(result, std::memory_order_relaxed);
        return Sent::some;
    }
    if (errno == EAGAIN || errno == EINTR) {
        return Sent::again;
    }
    wire.error = errno;
    return Sent::broken;
}

/// Sends what was gathered. some: all of it.
Sent send_batch(TlsConnection::Wire& wire) {
    while (wire.batch_sent < wire.batch.size()) {
        std::size_t sent = 0;
        const auto came =
            send_some(wire, wire.batch.data() + wire.batch_sent, wire.batch.size() - wire.batch_sent, sent);
        if (came != Sent::some) {
            return came;
        }
        wire.batch_sent += sent;
    }
    wire.batch.clear();
    wire.batch_sent = 0;
    return Sent::some;
}

int wire_write(BIO* bio, const char* data, int size) {
    auto& wire = wire_of(bio);
    BIO_clear_retry_flags(bio);
    const auto bytes = static_cast<std::size_t>(size);
    if (wire.gathers || !wire.batch.empty()) { // Nothing overtakes what waits.
        if (wire.batch.size() + bytes > wire.batch.capacity()) {
            BIO_set_retry_write(bio);
            return -1;
        }
        wire.batch.insert(wire.batch.end(), data, data + bytes);
        return size;
    }
    std::size_t sent = 0;
    const auto came = send_some(wire, data, bytes, sent);
    if (came == Sent::again) {
        BIO_set_retry_write(bio);
    }
    return came == Sent::some ? static_cast<int>(sent) : -1;
}

int wire_read(BIO* bio, char* data, int size) {
    auto& wire = wire_of(bio);
    BIO_clear_retry_flags(bio);
    const auto received = ::recv(wire.fd, data, static_cast<std::size_t>(size), 0);
    if (received > 0) {
        wire.counters->received.fetch_add(received, std::memory_order_relaxed);
    } else if (received == 0) {
        wire.ended = true;
    } else if (errno == EAGAIN || errno == EINTR) {
        BIO_set_retry_read(bio);
    } else {
        wire.error = errno;
    }
    return static_cast<int>(received);
}

long wire_control(BIO* bio, int command, long /*number*/, void* /*pointer*/) {
    switch (command) {
    case BIO_CTRL_FLUSH:
        return 1;
    case BIO_CTRL_EOF:
        return wire_of(bio).ended ? 1 : 0;
    default:
        return 0;
    }
}

int wire_create(BIO* bio) {
    BIO_set_init(bio, 1);
    return 1;
}

/// send() and recv() instead of OpenSSL's write() and read(): no SIGPIPE, and every byte is counted.
const BIO_METHOD* wire_method() {
    static const BIO_METHOD* const method = [] {
        BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "muster wire");
        MUSTER_ASSERT(made != nullptr);
        BIO_meth_set_write(made, wire_write);
        BIO_meth_set_read(made, wire_read);
        BIO_meth_set_ctrl(made, wire_control);
        BIO_meth_set_create(made, wire_create);
        return made;
    }();
    return method;
}

void prepare(int socket) {
    const int flags = ::fcntl(socket, F_GETFL);
    if (flags < 0 || ::fcntl(socket, F_SETFL, flags | O_NONBLOCK) != 0) {
        throw std::system_error{errno, std::generic_category(), "make socket non-blocking"};
    }
    // Both fail on a socket that is not TCP, which then has no such delay either. What lies unsent in the system is
    // what an abort or another group's message has to wait for.
    const int on = 1;
    (void)::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)::setsockopt(socket, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent_bytes_max, sizeof unsent_bytes_max);
}

} // namespace

TlsConnection::TlsConnection(UniqueFd socket, const tls::Context& context, Side side)
    : socket_{std::move(socket)}, wire_{.fd = socket_.get(), .counters = &counters_}, context_{context},
      last_received_{std::chrono::steady_clock::now()} {
    prepare(socket_.get());
    ssl_ = SSL_new(context_.native());
    BIO* bio = BIO_new(wire_method());
    if (ssl_ == nullptr || bio == nullptr) {
        BIO_free(bio);
        SSL_free(ssl_);
        throw std::runtime_error{"out of memory for a TLS connection"};
    }
    BIO_set_data(bio, &wire_);
    SSL_set_bio(ssl_, bio, bio);
    SSL_set_mode(ssl_, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (side == Side::server) {
        SSL_set_accept_state(ssl_);
    } else {
        SSL_set_connect_state(ssl_);
    }
}

TlsConnection::~TlsConnection() {
    SSL_free(ssl_);
}

IoStatus TlsConnection::status_of(int result) {
    ssl_error_ = SSL_get_error(ssl_, result);
    switch (ssl_error_) {
    case SSL_ERROR_NONE:
        return IoStatus::done;
    case SSL_ERROR_WANT_READ:
        return IoStatus::want_read;
    case SSL_ERROR_WANT_WRITE:
        return IoStatus::want_write;
    case SSL_ERROR_ZERO_RETURN:
        return IoStatus::closed;
    default:
        return wire_.ended || wire_.error != 0 ? IoStatus::cut : IoStatus::failed;
    }
}

IoStatus TlsConnection::handshake() {
    ERR_clear_error();
    const auto status = status_of(SSL_do_handshake(ssl_));
    if (status == IoStatus::done) {
        handshaken_ = true;
        last_received_ = std::chrono::steady_clock::now();
        SSL_set_default_read_buffer_len(ssl_, read_buffer_bytes);
        SSL_set_read_ahead(ssl_, 1);
        wire_.batch.reserve(batch_bytes_max + batch_spare_bytes);
    }
    return status;
}

IoResult TlsConnection::read(std::span<std::byte> buffer) {
    MUSTER_ASSERT(!buffer.empty());
    ERR_clear_error();
    std::size_t bytes = 0;
    const int result = SSL_read_ex(ssl_, buffer.data(), buffer.size(), &bytes);
    if (result == 1) {
        last_received_ = std::chrono::steady_clock::now();
        return {IoStatus::done, bytes};
    }
    return {status_of(result), 0};
}

IoResult TlsConnection::write(std::span<const std::byte> data) {
    MUSTER_ASSERT(handshaken_ && !data.empty());
    ERR_clear_error();
    if (!write_pending_) {
        if (const auto status = gather(data); status != IoStatus::done) {
            return {status, 0};
        }
    }
    const auto sent = send_batch(wire_);
    write_pending_ = sent == Sent::again;
    if (sent == Sent::again) {
        return {IoStatus::want_write, 0};
    }
    if (sent == Sent::broken) {
        ssl_error_ = SSL_ERROR_SYSCALL;
        return {IoStatus::cut, 0};
    }
    return {IoStatus::done, std::exchange(gathered_, 0)};
}

/// Encrypts a first part of `data` into the batch, which is empty.
IoStatus TlsConnection::gather(std::span<const std::byte> data) {
    if (bytes_under_key_ >= key_bytes_max) {
        bytes_under_key_ = 0;
        SSL_key_update(ssl_, SSL_KEY_UPDATE_NOT_REQUESTED);
    }
    auto status = IoStatus::done;
    wire_.gathers = true;
    while (status == IoStatus::done && gathered_ < data.size() &&
           wire_.batch.size() + record_bytes_max <= batch_bytes_max) {
        const auto rest = data.subspan(gathered_);
        std::size_t bytes = 0;
        status = status_of(SSL_write_ex(ssl_, rest.data(), rest.size(), &bytes));
        gathered_ += bytes;
        bytes_under_key_ += bytes;
    }
    wire_.gathers = false;
    return status;
}

void TlsConnection::finish() {
    // After a fatal error, or with a record half written, OpenSSL must not be asked for another one.
    const bool usable =
        handshaken_ && !write_pending_ && ssl_error_ != SSL_ERROR_SSL && ssl_error_ != SSL_ERROR_SYSCALL;
    if (usable) {
        ERR_clear_error();
        // Returns 0 after close_notify was sent; whether the peer still listens does not matter now.
        (void)SSL_shutdown(ssl_);
        ERR_clear_error();
    }
    (void)::shutdown(fd(), SHUT_WR);
}

void TlsConnection::shut_down() const {
    (void)::shutdown(fd(), SHUT_RDWR);
}

std::string TlsConnection::explain() {
    if (wire_.error != 0) {
        return fmt::format("connection broken: {}", std::generic_category().message(wire_.error));
    }
    if (ssl_error_ == SSL_ERROR_ZERO_RETURN) {
        return "connection closed by the peer";
    }
    if (wire_.ended && handshaken_) {
        return "connection cut without close_notify";
    }
    return tls::handshake_failure(ssl_, ssl_error_);
}

std::string TlsConnection::cipher() const {
    return fmt::format("{} {}", SSL_get_version(ssl_), SSL_get_cipher_name(ssl_));
}

WallTime TlsConnection::certificate_expires() const {
    const X509* certificate = SSL_get0_peer_certificate(ssl_);
    std::tm time{};
    if (certificate == nullptr || ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &time) != 1) {
        return {};
    }
    return std::chrono::system_clock::from_time_t(::timegm(&time));
}

} // namespace muster::collective
