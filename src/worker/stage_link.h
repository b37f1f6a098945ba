/// What stages of a model that follow one another pass between them: activations forth, their gradients back.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>

#include <cstdint>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

namespace muster::worker {

/// Tensors to one neighbour, in order. One thread. Methods throw what the group throws.
class StageOutlet {
public:
    /// `announces`: the other side does not know the sizes of a row; they go before the first tensor, once.
    StageOutlet(c10::intrusive_ptr<c10d::ProcessGroup> group, int to, int tag, bool announces);

    /// Sends a tensor [rows, ...] and keeps it until it has left. Returns at once, unless `pending_max` others are on
    /// their way: then it waits for the oldest ones.
    void put(const at::Tensor& tensor, std::size_t pending_max);

private:
    c10::intrusive_ptr<c10d::ProcessGroup> group_;
    int to_;
    int tag_;
    bool announces_;
    std::deque<std::pair<c10::intrusive_ptr<c10d::Work>, at::Tensor>> pending_;
};

/// Tensors from one neighbour, in order, each asked for before it is needed. One thread.
class StageInlet {
public:
    /// Without `row` the sizes of a row come from the other side.
    StageInlet(c10::intrusive_ptr<c10d::ProcessGroup> group,
               int from,
               int tag,
               at::ScalarType type,
               std::optional<std::vector<std::int64_t>> row = {});

    /// Begins to receive a tensor of `rows` rows behind those asked for already.
    void expect(std::int64_t rows);
    /// Waits for the next of them. Throws c10::Error when the other side announces nonsense.
    at::Tensor take();
    /// How many are asked for and not taken.
    [[nodiscard]] std::size_t expected() const { return coming_.size(); }
    /// Sets the sizes of a row, once they are known here.
    void set_row(std::vector<std::int64_t> row) { row_ = std::move(row); }

private:
    void learn_row();

    c10::intrusive_ptr<c10d::ProcessGroup> group_;
    int from_;
    int tag_;
    at::ScalarType type_;
    std::optional<std::vector<std::int64_t>> row_;
    std::deque<std::pair<c10::intrusive_ptr<c10d::Work>, at::Tensor>> coming_;
};

} // namespace muster::worker
