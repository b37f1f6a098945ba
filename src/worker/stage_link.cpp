#include "worker/stage_link.h"

#include <ATen/Functions.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <numeric>

namespace muster::worker {
namespace {

/// The announcement: how many sizes follow, then the sizes.
constexpr std::int64_t sizes_max = 7;
/// A row of more elements is nonsense, not a model.
constexpr std::int64_t row_elements_max = std::int64_t{1} << 40U;

void send(c10d::ProcessGroup& group,
          const at::Tensor& tensor,
          int to,
          int tag,
          std::deque<std::pair<c10::intrusive_ptr<c10d::Work>, at::Tensor>>& pending) {
    std::vector<at::Tensor> tensors{tensor};
    pending.emplace_back(group.send(tensors, to, tag), tensor);
}

} // namespace

StageOutlet::StageOutlet(c10::intrusive_ptr<c10d::ProcessGroup> group, int to, int tag, bool announces)
    : group_{std::move(group)}, to_{to}, tag_{tag}, announces_{announces} {}

void StageOutlet::put(const at::Tensor& tensor, std::size_t pending_max) {
    if (announces_) {
        const at::IntArrayRef row = tensor.sizes().slice(1);
        TORCH_CHECK(std::ssize(row) <= sizes_max, "a block's output has more than ", sizes_max + 1, " dimensions");
        std::vector<std::int64_t> numbers{std::ssize(row)};
        numbers.insert(numbers.end(), row.begin(), row.end());
        numbers.resize(sizes_max + 1, 0);
        send(*group_, at::tensor(numbers, at::kLong), to_, tag_, pending_);
        announces_ = false;
    }
    while (!pending_.empty() && (pending_.size() >= pending_max || pending_.front().first->isCompleted())) {
        pending_.front().first->wait();
        pending_.pop_front();
    }
    send(*group_, tensor.contiguous(), to_, tag_, pending_);
}

StageInlet::StageInlet(c10::intrusive_ptr<c10d::ProcessGroup> group,
                       int from,
                       int tag,
                       at::ScalarType type,
                       std::optional<std::vector<std::int64_t>> row)
    : group_{std::move(group)}, from_{from}, tag_{tag}, type_{type}, row_{std::move(row)} {}

void StageInlet::learn_row() {
    std::vector<at::Tensor> tensors{at::empty({sizes_max + 1}, at::kLong)};
    group_->recv(tensors, from_, tag_)->wait();
    const auto* const numbers = tensors[0].const_data_ptr<std::int64_t>();
    TORCH_CHECK(numbers[0] >= 0 && numbers[0] <= sizes_max, "rank ", from_, " announced ", numbers[0], " dimensions");
    std::vector<std::int64_t> row(numbers + 1, numbers + 1 + numbers[0]);
    std::int64_t elements = 1;
    for (const std::int64_t size : row) {
        TORCH_CHECK(size > 0 && size <= row_elements_max / elements, "rank ", from_, " announced impossible sizes");
        elements *= size;
    }
    row_ = std::move(row);
}

void StageInlet::expect(std::int64_t rows) {
    if (!row_) {
        learn_row();
    }
    std::vector<std::int64_t> sizes{rows};
    sizes.insert(sizes.end(), row_->begin(), row_->end());
    std::vector<at::Tensor> tensors{at::empty(sizes, type_)};
    const at::Tensor tensor = tensors[0];
    coming_.emplace_back(group_->recv(tensors, from_, tag_), tensor);
}

at::Tensor StageInlet::take() {
    TORCH_CHECK(!coming_.empty(), "a stage takes what it has not asked for");
    auto [work, tensor] = std::move(coming_.front());
    coming_.pop_front();
    work->wait();
    return tensor;
}

} // namespace muster::worker
