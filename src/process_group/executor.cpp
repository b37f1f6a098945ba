#include "process_group/executor.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

namespace muster::process_group {

/// Outlives the executor while a task that let go of it still runs.
struct Executor::State {
    explicit State(Duration longest) : idle_max{longest} {}

    Duration idle_max;
    std::mutex mutex{};
    std::condition_variable wake{};
    std::deque<std::function<void()>> tasks{};
    std::size_t idle{0};
    bool closing{false};
    std::vector<std::thread> threads{};
    std::vector<std::thread> ended{}; ///< to be joined

    static void work(const std::shared_ptr<State>& state) {
        std::unique_lock lock{state->mutex};
        for (;;) {
            if (state->tasks.empty()) {
                ++state->idle;
                state->wake.wait_for(lock, state->idle_max, [&] { return state->closing || !state->tasks.empty(); });
                --state->idle;
            }
            if (state->tasks.empty()) {
                break; // closing, or idle for long enough
            }
            auto task = std::move(state->tasks.front());
            state->tasks.pop_front();
            lock.unlock();
            task();
            task = nullptr; // what it owns may take the lock
            lock.lock();
        }
        const auto self = std::ranges::find(state->threads, std::this_thread::get_id(), &std::thread::get_id);
        if (self != state->threads.end()) { // else the executor has taken it to join it
            state->ended.push_back(std::move(*self));
            state->threads.erase(self);
        }
    }
};

Executor::Executor(Duration idle_max) : state_{std::make_shared<State>(idle_max)} {}

Executor::~Executor() {
    std::vector<std::thread> threads;
    {
        const std::scoped_lock lock{state_->mutex};
        state_->closing = true;
        threads = std::move(state_->threads);
        std::ranges::move(state_->ended, std::back_inserter(threads));
        state_->threads.clear();
        state_->ended.clear();
        state_->wake.notify_all();
    }
    for (auto& thread : threads) {
        if (thread.get_id() == std::this_thread::get_id()) {
            thread.detach(); // it ends by itself: nothing is left to do, and it owns what it uses
        } else {
            thread.join();
        }
    }
}

void Executor::run(std::function<void()> task) {
    std::vector<std::thread> ended;
    {
        const std::scoped_lock lock{state_->mutex};
        ended.swap(state_->ended);
        state_->tasks.push_back(std::move(task));
        if (state_->idle >= state_->tasks.size()) {
            state_->wake.notify_one();
        } else {
            state_->threads.emplace_back([state = state_] { State::work(state); });
        }
    }
    for (auto& thread : ended) {
        thread.join();
    }
}

std::size_t Executor::threads() const {
    const std::scoped_lock lock{state_->mutex};
    return state_->threads.size();
}

std::size_t Executor::idle_threads() const {
    const std::scoped_lock lock{state_->mutex};
    return state_->idle;
}

} // namespace muster::process_group
