/// Collectives on tensors of a device: what the group can send lies in host memory.
#pragma once

#include "process_group/backend.h"

#include <torch/csrc/distributed/c10d/Backend.hpp>

#include <vector>

namespace muster::process_group {

/// Copies a device's tensors into host memory (pinned where the device has such memory), lets a MusterBackend do the
/// operation there, and copies the outcome back. The operations are those that training takes; the others throw
/// c10::Error "... does not support ...".
///
/// An operation reads its inputs before it returns, ordered behind what the calling thread's current stream does, and
/// its Work, or the future of it, ends when the outcome is on the device. Order, failures and time limits are those of
/// the MusterBackend, which ranks without such a device use directly: both kinds may share a group. Any thread.
class StagedBackend final : public c10d::Backend {
public:
    using WorkPtr = c10::intrusive_ptr<c10d::Work>;

    explicit StagedBackend(c10::intrusive_ptr<MusterBackend> host);

    const std::string getBackendName() const override { return host_->getBackendName(); }
    void abort() override { host_->abort(); }
    void shutdown() override { host_->shutdown(); }
    void setTimeout(std::chrono::milliseconds timeout) override { host_->setTimeout(timeout); }
    void setSequenceNumberForGroup() override {}
    uint64_t getSequenceNumberForGroup() override { return host_->getSequenceNumberForGroup(); }
    c10d::ErrorType getError() override { return host_->getError(); }

    /// As MusterBackend's, of tensors of one type and one device.
    WorkPtr allreduce(std::vector<at::Tensor>& tensors, const c10d::AllreduceOptions& options = {}) override;
    WorkPtr broadcast(std::vector<at::Tensor>& tensors, const c10d::BroadcastOptions& options = {}) override;
    WorkPtr allgather(std::vector<std::vector<at::Tensor>>& outputs,
                      std::vector<at::Tensor>& inputs,
                      const c10d::AllgatherOptions& options = {}) override;
    WorkPtr reduce_scatter(std::vector<at::Tensor>& outputs,
                           std::vector<std::vector<at::Tensor>>& inputs,
                           const c10d::ReduceScatterOptions& options = {}) override;

private:
    c10::intrusive_ptr<MusterBackend> host_;
};

} // namespace muster::process_group
