#include "app/muster/interrupt.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdint>

namespace muster::app {
namespace {

std::atomic<bool> came{false};
int event_fd = -1;

void on_signal(int /*signal*/) {
    came = true;
    const std::uint64_t one = 1;
    (void)!::write(event_fd, &one, sizeof one);
}

} // namespace

void catch_interrupts() {
    event_fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct sigaction action {};
    action.sa_handler = on_signal;
    ::sigaction(SIGINT, &action, nullptr);
    ::sigaction(SIGTERM, &action, nullptr);
}

bool interrupted() {
    return came;
}

int interrupt_fd() {
    return event_fd;
}

} // namespace muster::app
