#include "process_group/loopback_groups.h"

#include "base/assert.h"
#include "tls/keys.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include <exception>
#include <latch>
#include <thread>

namespace muster::process_group::testing {

Listener listen_on_loopback() {
    UniqueFd fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    MUSTER_ASSERT(::bind(fd.get(), generic, size) == 0);
    MUSTER_ASSERT(::listen(fd.get(), 16) == 0);
    MUSTER_ASSERT(::getsockname(fd.get(), generic, &size) == 0);
    return {std::move(fd), "127.0.0.1:" + std::to_string(ntohs(address.sin_port))};
}

std::vector<collective::GroupSpec> make_specs(const std::vector<Listener>& listeners, Duration operation_timeout) {
    const auto now = std::chrono::system_clock::now();
    auto authority = tls::Authority::open(tls::Authority::make_root("job CA", std::chrono::hours{1}, now)).value();
    collective::GroupSpec common;
    common.job = "job-1";
    common.generation = 1;
    common.plan_digest = std::string(64, 'a');
    common.operation_timeout = operation_timeout;
    for (std::size_t rank = 0; rank < listeners.size(); ++rank) {
        const auto name = "SubNetwork=1,MLTrainingFunction=" + std::to_string(rank);
        common.members.push_back({name, tls::job_uri(common.job, name), {listeners[rank].address}});
    }
    std::vector<collective::GroupSpec> specs;
    for (std::size_t rank = 0; rank < listeners.size(); ++rank) {
        specs.push_back(common);
        specs.back().rank = static_cast<int>(rank);
        tls::CertificateSpec certificate;
        certificate.uri = common.members[rank].identity;
        certificate.lifetime = std::chrono::hours{1};
        specs.back().credentials = {authority.issue(certificate, now).value(), authority.certificate()};
    }
    return specs;
}

void run_ranks(int ranks,
               const std::function<void(std::shared_ptr<collective::Group>)>& body,
               Duration operation_timeout) {
    std::vector<Listener> listeners;
    for (int rank = 0; rank < ranks; ++rank) {
        listeners.push_back(listen_on_loopback());
    }
    const auto specs = make_specs(listeners, operation_timeout);
    std::vector<std::exception_ptr> failures(specs.size());
    std::latch connected{ranks};
    {
        std::vector<std::jthread> threads;
        for (std::size_t rank = 0; rank < specs.size(); ++rank) {
            threads.emplace_back([&, rank] {
                try {
                    const auto dialer = collective::tcp_dialer();
                    auto group = collective::Group::connect(
                        specs[rank], listeners[rank].fd.get(), *dialer, Deadline::after(std::chrono::seconds{20}));
                    connected.arrive_and_wait(); // What a quick rank does wrong must not fail another one's connect().
                    if (!group) {
                        throw std::runtime_error{group.error().text()};
                    }
                    body(std::move(group).value());
                } catch (...) { // carried to the test's thread
                    failures[rank] = std::current_exception();
                }
            });
        }
    }
    for (const auto& failure : failures) {
        if (failure) {
            std::rethrow_exception(failure);
        }
    }
}

} // namespace muster::process_group::testing
