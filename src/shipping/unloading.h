/// Writes what has arrived beside the thread that receives. For this folder's own use.
#pragma once

#include "shipping/landing.h"

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace muster::shipping {

/// Takes blocks in their order and appends them to a landing on a thread of its own: hashing and the disk do not keep
/// the connection waiting. After a failure to write, blocks are dropped. One thread gives; its destructor writes what
/// was given.
class Unloading {
public:
    using Block = std::vector<std::byte>;

    /// At most `blocks_max` wait to be written. `on_arrival` is called on the thread, with each block that was written.
    /// The arguments outlive it.
    Unloading(Landing& landing, std::size_t blocks_max, const std::function<void(const Landing&)>& on_arrival);
    ~Unloading();
    Unloading(const Unloading&) = delete;
    Unloading& operator=(const Unloading&) = delete;

    /// Gives a block; waits while there are too many.
    void put(Block block);
    /// A block that was written, to be filled again; an empty one where there is none: memory that was touched once is
    /// not asked for again.
    [[nodiscard]] Block used();
    /// Waits until all is written. Call once, at the end. Errors: those of Landing::append.
    [[nodiscard]] Result<void> finish();

private:
    void close();
    void run();

    Landing* landing_;
    std::size_t blocks_max_;
    const std::function<void(const Landing&)>* on_arrival_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<Block> waiting_;
    std::vector<Block> used_;
    bool closed_{false};
    Result<void> written_{}; ///< the thread's, until it has ended
    std::thread thread_;
};

} // namespace muster::shipping
