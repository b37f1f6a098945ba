#include "process_group/served_client.h"

#include "collective/address.h"

#include <poll.h>

#include <span>

namespace muster::process_group {
namespace {

using collective::IoStatus;

constexpr Duration greeting_wait = std::chrono::seconds{10};
/// A greeting is short: whoever is not admitted may not fill memory.
constexpr std::size_t greeting_bytes_max = 8192;

} // namespace

ServedClient::ServedClient(UniqueFd socket, const tls::Context& context)
    : remote{collective::peer_address(socket.get())}, deadline{Deadline::after(greeting_wait)},
      connection_{std::move(socket), context, collective::TlsConnection::Side::server} {}

short ServedClient::events() const {
    return state_ == State::waiting ? short{POLLRDHUP} : wants_write_ ? short{POLLOUT} : short{POLLIN};
}

bool ServedClient::hung_up() const {
    pollfd entry{.fd = fd(), .events = POLLRDHUP, .revents = 0};
    return ::poll(&entry, 1, 0) > 0;
}

bool ServedClient::advance() {
    while (state_ != State::ended && state_ != State::waiting) {
        switch (state_) {
        case State::handshake:
            if (const auto status = connection_.handshake(); status == IoStatus::done) {
                expect(State::head, store_head_bytes);
            } else {
                return pause(status);
            }
            break;
        case State::writing:
            if (!write_some()) {
                return false;
            }
            break;
        default:
            if (!read_some()) {
                return false;
            }
            if (request) {
                state_ = State::waiting;
                return true;
            }
        }
    }
    return false;
}

void ServedClient::reply(const StoreReply& reply, bool last) {
    auto bytes = encode(reply);
    if (!bytes) {
        bytes = encode(StoreReply{StoreReplyKind::refused, {bytes.error().message}});
    }
    out_ = std::move(bytes).value();
    out_done_ = 0;
    last_ = last;
    request.reset();
    state_ = State::writing;
}

void ServedClient::end(std::string why) {
    if (trouble.empty()) {
        trouble = std::move(why);
    }
    connection_.finish();
    state_ = State::ended;
}

void ServedClient::expect(State next, std::size_t bytes) {
    state_ = next;
    in_.resize(bytes);
    in_done_ = 0;
}

bool ServedClient::pause(IoStatus status) {
    wants_write_ = status == IoStatus::want_write;
    if (status == IoStatus::closed) {
        end("");
    } else if (status == IoStatus::cut || status == IoStatus::failed) {
        end(admitted && status == IoStatus::cut ? "" : connection_.explain());
    }
    return false;
}

bool ServedClient::write_some() {
    const auto [status, bytes] = connection_.write(std::span{out_}.subspan(out_done_));
    if (status != IoStatus::done) {
        return pause(status);
    }
    out_done_ += bytes;
    if (out_done_ == out_.size()) {
        out_ = {};
        if (last_) {
            end("");
        } else {
            wants_write_ = false;
            expect(State::head, store_head_bytes);
        }
    }
    return true;
}

bool ServedClient::read_some() {
    if (in_done_ < in_.size()) {
        const auto [status, bytes] = connection_.read(std::span{in_}.subspan(in_done_));
        if (status != IoStatus::done) {
            return pause(status);
        }
        wants_write_ = false;
        in_done_ += bytes;
    }
    if (in_done_ == in_.size()) {
        state_ == State::head ? take_head() : take_body();
    }
    return state_ != State::ended;
}

void ServedClient::take_head() {
    auto head = decode_store_head(std::span{in_}.first<store_head_bytes>());
    if (!head || (!admitted && head->body_bytes > greeting_bytes_max)) {
        end(head ? "a greeting that is too long" : head.error().message);
        return;
    }
    head_ = *head;
    expect(State::body, head_.body_bytes);
    if (head_.body_bytes == 0) {
        take_body();
    }
}

void ServedClient::take_body() {
    auto decoded = decode_store_request(head_, in_);
    in_ = {};
    in_done_ = 0;
    if (decoded) {
        request = std::move(decoded).value();
    } else {
        end(decoded.error().message);
    }
}

} // namespace muster::process_group
