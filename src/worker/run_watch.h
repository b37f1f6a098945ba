/// RunWatch: since when a program of a user has been running without coming back.
#pragma once

#include "base/clock.h"

#include <atomic>
#include <cstdint>

namespace muster::worker {

/// Told by the thread that runs the program, read by another one, which can only end the process: nothing stops an
/// endless loop within it. Safe from any thread; one thread runs programs.
class RunWatch {
public:
    /// The program runs as long as this lives.
    class Running {
    public:
        explicit Running(RunWatch* watch) : watch_{watch} {
            if (watch_ != nullptr) {
                watch_->began_ = std::chrono::steady_clock::now().time_since_epoch().count();
            }
        }
        ~Running() {
            if (watch_ != nullptr) {
                watch_->began_ = 0;
            }
        }
        Running(const Running&) = delete;
        Running& operator=(const Running&) = delete;

    private:
        RunWatch* watch_;
    };

    /// Says whether a run that has not ended began longer than `limit` ago.
    [[nodiscard]] bool overdue(Duration limit) const {
        const SteadyTime::rep began = began_;
        return began != 0 && std::chrono::steady_clock::now() - SteadyTime{SteadyTime::duration{began}} > limit;
    }

private:
    std::atomic<SteadyTime::rep> began_{0}; ///< 0: nothing runs
};

} // namespace muster::worker
