/// The c10d backend "muster": PyTorch's distributed engine over one mutual-TLS group.
#pragma once

#include "collective/group.h"

#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace muster::worker {

/// Runs c10d collectives on dense CPU tensors over a collective::Group, one after the other on one thread, in the
/// order they were asked for. Operations may be asked for from any thread, but in the same order on every rank, and
/// while a backend exists nobody else may call collectives of its group.
///
/// Every Work has a future of type List[Tensor] (the outputs) and fails with the group's own words, which name the
/// culprit; after one failure all later operations fail with them too. Operations that are not overridden here
/// throw c10::Error "Backend muster does not support ...".
///
/// Time limits: the group's operation_timeout bounds every operation. A shorter `timeout` in an operation's options,
/// or one given to setTimeout(), bounds the time from asking to completion; when it passes in Work::wait() the group
/// is aborted on all ranks and wait() throws.
class MusterBackend final : public c10d::Backend {
public:
    explicit MusterBackend(std::shared_ptr<collective::Group> group);
    /// Like shutdown().
    ~MusterBackend() override;
    MusterBackend(const MusterBackend&) = delete;
    MusterBackend& operator=(const MusterBackend&) = delete;

    /// Ends pending and later operations on all ranks, with this rank named as the one that aborted.
    void abort() override;
    /// Waits for the operations already asked for, each bounded by the group's time limit, and ends the thread.
    void shutdown() override;

    const std::string getBackendName() const override { return "muster"; }
    c10::intrusive_ptr<Options> getBackendOptions() override;
    /// Time limit of operations asked for from now on; zero or less: only the group's.
    void setTimeout(std::chrono::milliseconds timeout) override;
    void setSequenceNumberForGroup() override {} // each rank counts for itself, from zero
    /// Number of operations asked for since the backend was made.
    uint64_t getSequenceNumberForGroup() override;
    c10d::ErrorType getError() override;

    /// In place. sum, avg (floating types), min, max, product. bool: sum and max are "or", product and min "and".
    c10::intrusive_ptr<c10d::Work> allreduce(std::vector<at::Tensor>& tensors,
                                             const c10d::AllreduceOptions& options = {}) override;
    /// Like allreduce; neighbours of one type travel as one message.
    c10::intrusive_ptr<c10d::Work> allreduce_coalesced(std::vector<at::Tensor>& tensors,
                                                       const c10d::AllreduceCoalescedOptions& options = {}) override;
    /// Any element type.
    c10::intrusive_ptr<c10d::Work> broadcast(std::vector<at::Tensor>& tensors,
                                             const c10d::BroadcastOptions& options = {}) override;
    /// Any element type. outputs[0][r] receives rank r's input; sizes may differ between ranks as the outputs say.
    c10::intrusive_ptr<c10d::Work> allgather(std::vector<std::vector<at::Tensor>>& outputs,
                                             std::vector<at::Tensor>& inputs,
                                             const c10d::AllgatherOptions& options = {}) override;
    /// Any element type. `output` has the size of `input` times the number of ranks.
    c10::intrusive_ptr<c10d::Work>
    _allgather_base(at::Tensor& output, at::Tensor& input, const c10d::AllgatherOptions& options = {}) override;
    c10::intrusive_ptr<c10d::Work> barrier(const c10d::BarrierOptions& options = {}) override;

private:
    class Queue;
    std::shared_ptr<Queue> queue_;
};

/// Returns a ProcessGroup whose CPU backend is a MusterBackend over `group`. Its store lies within this process:
/// whatever ranks must agree on was agreed in the roster.
[[nodiscard]] c10::intrusive_ptr<c10d::ProcessGroup> make_process_group(std::shared_ptr<collective::Group> group);

} // namespace muster::worker
