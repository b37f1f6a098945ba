#include "worker/best_weights.h"

#include "base/assert.h"

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <system_error>

namespace muster::worker {
namespace {

/// Moves all bytes of a tensor on the processor between it and the file at `offset`.
template <typename Move>
void move_all(Move move, int file, const at::Tensor& tensor, off_t offset, const char* what) {
    auto* bytes = static_cast<char*>(tensor.mutable_data_ptr());
    for (std::size_t done = 0; done < tensor.nbytes();) {
        const auto count = move(file, bytes + done, tensor.nbytes() - done, offset + static_cast<off_t>(done));
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count <= 0) {
            throw std::system_error{count == 0 ? EIO : errno, std::generic_category(), what};
        }
        done += static_cast<std::size_t>(count);
    }
}

} // namespace

void BestWeights::keep(const std::vector<at::Tensor>& weights) {
    const c10::AutoGradMode no_grad{false};
    if (file_ < 0) {
        copies_.clear();
        for (const at::Tensor& weight : weights) {
            copies_.push_back(weight.detach().clone());
        }
        return;
    }
    off_t offset = 0;
    for (const at::Tensor& weight : weights) {
        const at::Tensor host = weight.detach().cpu().contiguous();
        move_all(::pwrite, file_, host, offset, "keep the best weights");
        offset += static_cast<off_t>(host.nbytes());
    }
}

void BestWeights::restore(const std::vector<at::Tensor>& weights) {
    const c10::AutoGradMode no_grad{false};
    off_t offset = 0;
    for (std::size_t index = 0; index < weights.size(); ++index) {
        const at::Tensor weight = weights[index].detach();
        if (file_ < 0) {
            MUSTER_ASSERT(copies_.size() == weights.size());
            weight.copy_(copies_[index]);
            continue;
        }
        const at::Tensor host = at::empty(weight.sizes(), weight.options().device(at::kCPU));
        move_all(::pread, file_, host, offset, "read the best weights");
        weight.copy_(host);
        offset += static_cast<off_t>(host.nbytes());
    }
}

} // namespace muster::worker
