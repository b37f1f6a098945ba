/// ReadAhead: makes the next pieces in a thread while the last one is worked on.
#pragma once

#include "base/result.h"

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

namespace muster::data {

/// Calls `make` in a thread of its own, again and again until it gives nothing or an error, and keeps at most
/// `depth` pieces that nobody has taken. Where no thread can be started it calls `make` when a piece is asked for.
/// What `make` throws, next() throws. `make` uses nothing that the other thread uses. The destructor waits for a call
/// of `make` that is under way. One thread calls next().
template <typename Piece>
class ReadAhead {
public:
    using Made = Result<std::optional<Piece>>;

    explicit ReadAhead(std::function<Made()> make, std::size_t depth = 2) : make_{std::move(make)}, depth_{depth} {
        try {
            thread_ = std::jthread{[this](const std::stop_token& stop) { run(stop); }};
        } catch (const std::system_error&) { // a limit on threads: slower, not wrong
        }
    }
    ~ReadAhead() {
        thread_.request_stop();
        wake_.notify_all();
    }
    ReadAhead(const ReadAhead&) = delete;
    ReadAhead& operator=(const ReadAhead&) = delete;

    /// The next piece; nothing at the end. Not to be called again after the end or an error.
    Made next() {
        if (!thread_.joinable()) {
            return make_();
        }
        std::unique_lock lock{mutex_};
        wake_.wait(lock, [this] { return !ready_.empty() || failure_; }); // make_ comes back: it reads a file
        if (ready_.empty()) {
            std::rethrow_exception(failure_);
        }
        Made made = std::move(ready_.front());
        ready_.pop_front();
        wake_.notify_all();
        return made;
    }

private:
    void run(const std::stop_token& stop) {
        bool more = true;
        while (more && !stop.stop_requested()) {
            try {
                Made made = make_();
                more = made && made->has_value();
                std::unique_lock lock{mutex_};
                wake_.wait(lock, [&] { return ready_.size() < depth_ || stop.stop_requested(); });
                ready_.push_back(std::move(made));
            } catch (...) { // the boundary of the thread
                const std::scoped_lock lock{mutex_};
                failure_ = std::current_exception();
                more = false;
            }
            wake_.notify_all();
        }
    }

    std::function<Made()> make_;
    std::size_t depth_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<Made> ready_{};
    std::exception_ptr failure_{};
    std::jthread thread_{}; ///< last: it uses all of the above, and is joined first
};

} // namespace muster::data
