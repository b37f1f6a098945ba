/// A group of one rank: it has nobody to talk to.
#pragma once

#include "collective/group.h"

#include <mutex>
#include <optional>
#include <string>

namespace muster::collective {

class SoloGroup final : public Group {
public:
    [[nodiscard]] int rank() const override { return 0; }
    [[nodiscard]] int size() const override { return 1; }
    void all_reduce(std::span<std::byte> data, ElementType type, ReduceOp op) override;
    void broadcast(std::span<std::byte> data, int root) override;
    void all_gather(std::span<const std::byte> input,
                    std::span<std::byte> output,
                    std::span<const std::size_t> lengths) override;
    void barrier() override { check_alive(); }
    void abort(const std::string& reason) override;
    [[nodiscard]] GroupTraffic traffic() const override { return {}; }

private:
    void check_alive();

    std::mutex mutex_;
    std::optional<std::string> aborted_{}; ///< under mutex_
};

} // namespace muster::collective
