#include "worker/replica_sum.h"

#include "base/assert.h"
#include "process_group/backend.h"

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>

#include <cstdint>

namespace muster::worker {
namespace {

/// Neighbouring gradients travel as one message of about this size: few waits, and little memory besides.
constexpr std::size_t message_bytes = std::size_t{8} << 20U;

} // namespace

ReplicaSum::ReplicaSum(const c10::intrusive_ptr<c10d::ProcessGroup>& group, std::size_t stages) {
    const auto size = static_cast<std::size_t>(group->getSize());
    MUSTER_ASSERT(stages > 0 && size % stages == 0);
    if (size == stages) {
        return;
    }
    const std::size_t stage = static_cast<std::size_t>(group->getRank()) % stages;
    std::vector<int> ranks;
    for (std::size_t rank = stage; rank < size; rank += stages) {
        ranks.push_back(static_cast<int>(rank));
    }
    auto* backend = dynamic_cast<process_group::MusterBackend*>(group->getBackend(c10::DeviceType::CPU).get());
    MUSTER_ASSERT(backend != nullptr);
    replicas_ = backend->subgroup("replicas of stage " + std::to_string(stage), ranks, {});
}

void ReplicaSum::sum_gradients(const std::vector<at::Tensor>& parameters) {
    if (!replicas_) {
        return;
    }
    const c10::AutoGradMode no_grad{false};
    std::vector<at::Tensor> message;
    std::size_t bytes = 0;
    const auto send = [&] {
        replicas_->allreduce_coalesced(message)->wait();
        message.clear();
        bytes = 0;
    };
    for (const at::Tensor& parameter : parameters) {
        at::Tensor& gradient = parameter.mutable_grad();
        if (!gradient.defined()) {
            gradient = at::zeros_like(parameter);
        }
        bytes += gradient.nbytes();
        message.push_back(gradient);
        if (bytes >= message_bytes) {
            send();
        }
    }
    if (!message.empty()) {
        send();
    }
}

} // namespace muster::worker
