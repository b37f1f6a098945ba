#include "link/tls_stream.h"

#include "base/log.h"

#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/system/system_error.hpp>
#include <fmt/format.h>
#include <openssl/ssl.h>

namespace muster::link {

TlsStream make_stream(tcp::socket socket, const tls::Context& context) {
    // Asio frees the SSL_CTX that it is given; SSL_new, inside, takes a reference of its own.
    if (SSL_CTX_up_ref(context.native()) != 1) {
        throw boost::system::system_error{make_error_code(boost::system::errc::not_enough_memory)};
    }
    net::ssl::context borrowed{context.native()};
    return TlsStream{std::move(socket), borrowed};
}

std::string failure_text(TlsStream& stream, const error_code& error) {
    if (error.category() == net::error::get_ssl_category()) {
        return tls::handshake_failure_of(stream.native_handle(), static_cast<unsigned long>(error.value()));
    }
    if (error == net::ssl::error::stream_truncated || error == net::error::eof) {
        if (SSL_is_init_finished(stream.native_handle()) == 1) {
            return "the other end closed the connection";
        }
        return tls::handshake_failure_of(stream.native_handle(), 0);
    }
    return error.message();
}

std::string peer_text(const tcp::socket& socket) {
    error_code error;
    const auto end = socket.remote_endpoint(error);
    if (error) {
        return "?";
    }
    const auto address = end.address().to_string();
    return end.address().is_v6() ? fmt::format("[{}]:{}", address, end.port())
                                 : fmt::format("{}:{}", address, end.port());
}

void report_exception(const std::exception_ptr& thrown) {
    if (!thrown) {
        return;
    }
    try {
        std::rethrow_exception(thrown);
    } catch (const std::exception& problem) {
        // The boundary of one connection: it ends, the others go on.
        log::error("connection ended by an exception {}", log::field("reason", problem.what()));
    }
}

struct Watchdog::State {
    explicit State(tcp::socket& watched) : timer{watched.get_executor()}, socket{&watched} {}
    net::steady_timer timer;
    tcp::socket* socket; ///< null once the watchdog is gone
    bool fired{false};
};

Watchdog::Watchdog(tcp::socket& socket) : state_{std::make_shared<State>(socket)} {}

Watchdog::~Watchdog() {
    disarm();
    state_->socket = nullptr;
}

void Watchdog::arm(Duration limit) {
    state_->timer.expires_after(limit);
    state_->timer.async_wait([weak = std::weak_ptr<State>{state_}](const error_code& cancelled) {
        const auto state = weak.lock();
        const bool late = cancelled || state == nullptr || state->socket == nullptr;
        // A handler that was under way when arm() was called again must not act on the old limit.
        if (late || state->timer.expiry() > std::chrono::steady_clock::now()) {
            return;
        }
        state->fired = true;
        error_code ignored;
        state->socket->close(ignored); // closing what is closed already is no error to act on
    });
}

void Watchdog::disarm() {
    state_->timer.expires_at(SteadyTime::max());
}

bool Watchdog::fired() const {
    return state_->fired;
}

} // namespace muster::link
