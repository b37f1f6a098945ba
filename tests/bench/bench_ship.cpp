#include "bench_ship.h"

#include "base/unnamed_file.h"
#include "process_group/loopback_groups.h"
#include "shipping/shipment.h"
#include "tls/context.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <stdexcept>
#include <thread>
#include <vector>

namespace muster::bench {
namespace {

constexpr std::size_t call_bytes = 128U << 10U; // of one SSL_write: what a group's segment has
constexpr std::size_t write_bytes = 16U << 10U;
using Connection = std::unique_ptr<SSL, decltype(&SSL_free)>;

std::vector<std::byte> goods_of(std::int64_t bytes) {
    std::vector<std::byte> goods(static_cast<std::size_t>(bytes));
    std::uint32_t state = 1;
    std::ranges::generate(goods, [&] {
        state = state * 1664525 + 1013904223;
        return static_cast<std::byte>(state >> 24U);
    });
    return goods;
}

/// Fills and drops a file. A page that a virtual machine has not touched lately costs more than all that is measured
/// here; those that were just freed are taken first.
void touch_pages(std::int64_t bytes, const std::string& folder) {
    const UniqueFd file{open_unnamed(folder, bytes).value().release()};
    const std::vector<std::byte> zeros(write_bytes);
    for (std::int64_t at = 0; at < bytes; at += std::ssize(zeros)) {
        if (::write(file.get(), zeros.data(), zeros.size()) != std::ssize(zeros)) {
            throw std::runtime_error{"the file cannot be written"};
        }
    }
}

std::string joined(const std::vector<std::string>& digests) {
    return sha256_hex(digests.front());
}

double seconds_since(std::chrono::steady_clock::time_point begin) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

std::array<UniqueFd, 2> loopback_pair() {
    const auto listener = process_group::testing::listen_on_loopback();
    sockaddr_in address{};
    socklen_t size = sizeof address;
    UniqueFd client{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (::getsockname(listener.fd.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0 ||
        ::connect(client.get(), reinterpret_cast<sockaddr*>(&address), size) != 0) {
        throw std::runtime_error{"no connection on loopback"};
    }
    return {std::move(client), UniqueFd{::accept4(listener.fd.get(), nullptr, nullptr, SOCK_CLOEXEC)}};
}

Connection connection_over(const tls::Context& context, const UniqueFd& socket) {
    const int on = 1;
    ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    Connection connection{SSL_new(context.native()), SSL_free};
    SSL_set_fd(connection.get(), socket.get());
    return connection;
}

} // namespace

nlohmann::json time_shipment(std::int64_t bytes, const std::string& folder) {
    const auto goods = goods_of(bytes);
    Sha256 hash;
    hash.update(goods);
    const std::string digest = joined({hash.finish_hex()});
    double seconds = 0.0;
    process_group::testing::run_ranks(2, [&](const std::shared_ptr<collective::Group>& group) {
        if (group->rank() == 1) {
            touch_pages(bytes, folder);
        }
        group->barrier();
        if (group->rank() == 0) {
            const std::vector<shipping::Cargo> cargo{{"goods", goods}};
            const auto receipts = shipping::ship(*group, cargo, std::vector{1}, {}, {}, shipping::system_pace());
            if (!receipts) {
                throw std::runtime_error{receipts.error().text()};
            }
            return;
        }
        auto file = open_unnamed(folder, bytes);
        if (!file) {
            throw std::runtime_error{file.error().text()};
        }
        std::vector<shipping::LandingPart> parts;
        parts.push_back({"goods", bytes, *std::move(file)});
        auto landing = shipping::Landing::over(std::move(parts), digest, joined);
        const auto begin = std::chrono::steady_clock::now();
        const auto receipt = shipping::receive(*group, 0, *landing, {}, shipping::system_pace());
        if (!receipt) {
            throw std::runtime_error{receipt.error().text()};
        }
        seconds = seconds_since(begin);
    });
    return {{"bytes_per_second", static_cast<double>(bytes) / seconds}};
}

nlohmann::json time_bare_tls(std::int64_t bytes, const std::string& folder) {
    const auto goods = goods_of(bytes);
    std::vector<process_group::testing::Listener> listeners(2);
    const auto specs = process_group::testing::make_specs(listeners, std::chrono::seconds{1});
    const auto server = tls::Context::server(specs[1].credentials, tls::ClientCertificate::required).value();
    const auto client = tls::Context::client(specs[0].credentials).value();
    const auto sockets = loopback_pair();
    std::jthread sender{[&] {
        const auto connection = connection_over(client, sockets[0]);
        if (SSL_connect(connection.get()) != 1) {
            return; // the reader says it
        }
        for (std::size_t at = 0; at < goods.size();) {
            const int size = static_cast<int>(std::min(call_bytes, goods.size() - at));
            if (SSL_write(connection.get(), goods.data() + at, size) != size) {
                return;
            }
            at += static_cast<std::size_t>(size);
        }
        SSL_shutdown(connection.get());
    }};
    const auto connection = connection_over(server, sockets[1]);
    if (SSL_accept(connection.get()) != 1) {
        throw std::runtime_error{"no TLS handshake"};
    }
    if (!folder.empty()) {
        touch_pages(bytes, folder);
    }
    const UniqueFd file{folder.empty() ? -1 : open_unnamed(folder, bytes).value().release()};
    const auto begin = std::chrono::steady_clock::now();
    std::vector<std::byte> buffer(call_bytes);
    std::int64_t arrived = 0;
    while (arrived < bytes) {
        const int count = SSL_read(connection.get(), buffer.data(), static_cast<int>(buffer.size()));
        if (count <= 0) {
            throw std::runtime_error{"the TLS connection ended"};
        }
        arrived += count;
        if (file.valid() && ::write(file.get(), buffer.data(), static_cast<std::size_t>(count)) != count) {
            throw std::runtime_error{"the file cannot be written"};
        }
    }
    return {{"bytes_per_second", static_cast<double>(bytes) / seconds_since(begin)}};
}

} // namespace muster::bench
