#include "app/muster/follow.h"

#include "app/muster/output.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <thread>

namespace muster::app {
namespace {

constexpr auto plain_line_every = std::chrono::seconds{2};
constexpr std::size_t usual_columns = 120;

std::size_t columns() {
    winsize size{};
    return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : usual_columns;
}

} // namespace

Result<JobView> follow(Client& client,
                       const std::string& request_dn,
                       Deadline deadline,
                       const std::function<void(const JobView&)>& seen,
                       const std::function<bool()>& stop) {
    for (;;) {
        auto view = view_job(client, request_dn);
        if (!view) {
            return std::move(view).error();
        }
        seen(*view);
        if (view->ended()) {
            return view;
        }
        if (deadline.passed()) {
            return Error{ErrorCode::deadline_exceeded, fmt::format("{} is still {}", request_dn, view->status())};
        }
        if (stop()) {
            return Error{ErrorCode::deadline_exceeded, "interrupted"};
        }
        std::this_thread::sleep_for(follow_interval); // the producer is asked again, not waited for
    }
}

void ProgressPrinter::show(const JobView& view) {
    const std::string line = progress_line(view);
    if (line == last_) {
        return;
    }
    const auto now = std::chrono::steady_clock::now();
    if (on_terminal()) {
        fmt::print(stderr, "\r\033[K{}", line.substr(0, columns() - 1));
        std::fflush(stderr);
        open_line_ = true;
    } else {
        const std::string phase = view.status();
        if (phase == last_phase_ && phase == "RUNNING" && now - last_time_ < plain_line_every) {
            return;
        }
        last_phase_ = phase;
        say(line);
    }
    last_time_ = now;
    last_ = line;
}

void ProgressPrinter::finish() {
    if (open_line_) {
        fmt::print(stderr, "\n");
        open_line_ = false;
    }
}

} // namespace muster::app
