#include "shipping/unloading.h"

#include <utility>

namespace muster::shipping {

Unloading::Unloading(Landing& landing, std::size_t blocks_max, const std::function<void(const Landing&)>& on_arrival)
    : landing_{&landing}, blocks_max_{blocks_max}, on_arrival_{&on_arrival}, thread_{[this] { run(); }} {}

Unloading::~Unloading() {
    close();
}

void Unloading::put(Block block) {
    std::unique_lock lock{mutex_};
    changed_.wait(lock, [&] { return waiting_.size() < blocks_max_; });
    waiting_.push_back(std::move(block));
    changed_.notify_all();
}

Unloading::Block Unloading::used() {
    const std::scoped_lock lock{mutex_};
    if (used_.empty()) {
        return {};
    }
    Block block = std::move(used_.back());
    used_.pop_back();
    return block;
}

Result<void> Unloading::finish() {
    close();
    return std::move(written_);
}

void Unloading::close() {
    if (!thread_.joinable()) {
        return;
    }
    {
        const std::scoped_lock lock{mutex_};
        closed_ = true;
        changed_.notify_all();
    }
    thread_.join();
}

void Unloading::run() {
    std::unique_lock lock{mutex_};
    while (true) {
        changed_.wait(lock, [&] { return closed_ || !waiting_.empty(); });
        if (waiting_.empty()) {
            return;
        }
        Block block = std::move(waiting_.front());
        waiting_.pop_front();
        changed_.notify_all();
        lock.unlock();
        if (written_) {
            written_ = landing_->append(block);
            if (written_ && *on_arrival_) {
                (*on_arrival_)(*landing_);
            }
        }
        lock.lock();
        used_.push_back(std::move(block));
    }
}

} // namespace muster::shipping
