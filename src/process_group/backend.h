/// The c10d backend "muster": PyTorch's distributed engine over one mutual-TLS group.
#pragma once

#include "base/guarded.h"
#include "collective/group.h"
#include "process_group/executor.h"
#include "process_group/operation.h"
#include "process_group/transfer.h"

#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace muster::process_group {

/// Runs c10d's operations on CPU tensors over a collective::Group. Collectives run one after the other in the order
/// they were asked for, on a thread of the executor, which several backends may share; sends and receives run beside
/// them, in the thread that waits. Operations may be asked for from any thread, but collectives in the same order on
/// every rank, and while a backend exists nobody else may call operations of its group.
///
/// Tensors are dense, of any strides (what is not contiguous is copied) and any element type; reductions take floating
/// types, integers and bool. Arguments that cannot be meant are refused at once, as c10::Error.
/// Every Work of a collective has a future of type List[Tensor] (the outputs) and fails with the group's own words,
/// which name the culprit; after one failure all later operations fail with them too. Operations that are not
/// overridden here throw c10::Error "Backend muster does not support ...".
///
/// Time limits: the group's operation_timeout bounds every operation. A shorter `timeout` in an operation's options,
/// or one given to setTimeout(), bounds the time from asking to completion; when it passes in Work::wait() the group
/// is aborted on all ranks and wait() throws.
class MusterBackend final : public c10d::Backend {
public:
    using WorkPtr = c10::intrusive_ptr<c10d::Work>;

    MusterBackend(std::shared_ptr<collective::Group> group, std::shared_ptr<Executor> executor);
    /// Like shutdown(); the last backend of an executor waits for its threads too, so that nothing of the group is left
    /// when this returns, unless an operation's own callback has let go of it.
    ~MusterBackend() override;
    MusterBackend(const MusterBackend&) = delete;
    MusterBackend& operator=(const MusterBackend&) = delete;

    /// Ends pending and later operations on all ranks, with this rank named as the one that aborted.
    void abort() override;
    /// Waits for the operations already asked for, each bounded by the group's time limit, and refuses others.
    void shutdown() override;

    const std::string getBackendName() const override { return "muster"; }
    c10::intrusive_ptr<Options> getBackendOptions() override;
    /// Time limit of operations asked for from now on; zero or less: only the group's.
    void setTimeout(std::chrono::milliseconds timeout) override;
    void setSequenceNumberForGroup() override {} // each rank counts for itself, from zero
    /// Number of operations asked for since the backend was made.
    uint64_t getSequenceNumberForGroup() override;
    c10d::ErrorType getError() override;

    bool supportsSplitting() const override { return true; }
    /// A backend of some ranks of this one, over the same connections and threads. `options` name it. The store is not
    /// needed.
    c10::intrusive_ptr<c10d::Backend> split(const c10::intrusive_ptr<c10d::Store>& store,
                                            const std::vector<int>& ranks,
                                            const c10::intrusive_ptr<Options>& options) override;
    /// As split(). A name may be used again when all members do so.
    [[nodiscard]] c10::intrusive_ptr<MusterBackend>
    subgroup(const std::string& name, const std::vector<int>& ranks, std::chrono::milliseconds timeout);

    /// In place. sum, avg (floating types), min, max, product, bitwise operations (integers). bool: sum and max are
    /// "or", product and min "and". A sparse tensor goes to allreduce_sparse.
    WorkPtr allreduce(std::vector<at::Tensor>& tensors, const c10d::AllreduceOptions& options = {}) override;
    /// A COO tensor, in place; sum only.
    WorkPtr allreduce_sparse(std::vector<at::Tensor>& tensors, const c10d::AllreduceOptions& options = {}) override;
    /// Like allreduce; neighbours of one type travel as one message.
    WorkPtr allreduce_coalesced(std::vector<at::Tensor>& tensors,
                                const c10d::AllreduceCoalescedOptions& options = {}) override;
    /// The result at the root; the others' tensors stay as they are.
    WorkPtr reduce(std::vector<at::Tensor>& tensors, const c10d::ReduceOptions& options = {}) override;
    WorkPtr broadcast(std::vector<at::Tensor>& tensors, const c10d::BroadcastOptions& options = {}) override;
    /// outputs[0][r] receives rank r's input; sizes may differ between ranks as the outputs say. Outputs that lie one
    /// after the other are filled where they are, and the input may be this rank's own.
    WorkPtr allgather(std::vector<std::vector<at::Tensor>>& outputs,
                      std::vector<at::Tensor>& inputs,
                      const c10d::AllgatherOptions& options = {}) override;
    /// `output` has the size of `input` times the number of ranks.
    WorkPtr _allgather_base(at::Tensor& output, at::Tensor& input, const c10d::AllgatherOptions& options = {}) override;
    /// outputs[r][i] receives rank r's inputs[i].
    WorkPtr allgather_coalesced(std::vector<std::vector<at::Tensor>>& outputs,
                                std::vector<at::Tensor>& inputs,
                                const c10d::AllgatherOptions& options = {}) override;
    WorkPtr allgather_into_tensor_coalesced(std::vector<at::Tensor>& outputs,
                                            std::vector<at::Tensor>& inputs,
                                            const c10d::AllgatherOptions& options = {}) override;
    /// At the root outputs[0][r] receives rank r's input; all have one size.
    WorkPtr gather(std::vector<std::vector<at::Tensor>>& outputs,
                   std::vector<at::Tensor>& inputs,
                   const c10d::GatherOptions& options = {}) override;
    /// The root's inputs[0][r] becomes rank r's output; all have one size.
    WorkPtr scatter(std::vector<at::Tensor>& outputs,
                    std::vector<std::vector<at::Tensor>>& inputs,
                    const c10d::ScatterOptions& options = {}) override;
    /// Rank r receives the reduced inputs[0][r]; the blocks may differ in size. Blocks that lie one after the other are
    /// not copied, and the output may be this rank's own.
    WorkPtr reduce_scatter(std::vector<at::Tensor>& outputs,
                           std::vector<std::vector<at::Tensor>>& inputs,
                           const c10d::ReduceScatterOptions& options = {}) override;
    WorkPtr _reduce_scatter_base(at::Tensor& output,
                                 at::Tensor& input,
                                 const c10d::ReduceScatterOptions& options = {}) override;
    WorkPtr reduce_scatter_tensor_coalesced(std::vector<at::Tensor>& outputs,
                                            std::vector<at::Tensor>& inputs,
                                            const c10d::ReduceScatterOptions& options = {}) override;
    /// Splits are rows of the first dimension for each rank; none: equal parts.
    WorkPtr alltoall_base(at::Tensor& output,
                          at::Tensor& input,
                          std::vector<int64_t>& output_splits,
                          std::vector<int64_t>& input_splits,
                          const c10d::AllToAllOptions& options = {}) override;
    /// inputs[r] becomes this rank's part of rank r's outputs; sizes may differ.
    WorkPtr alltoall(std::vector<at::Tensor>& outputs,
                     std::vector<at::Tensor>& inputs,
                     const c10d::AllToAllOptions& options = {}) override;
    WorkPtr barrier(const c10d::BarrierOptions& options = {}) override;
    /// Returns when all ranks have called it. When some do not within the time limit, rank 0 names them, one or all,
    /// and the group ends on all ranks.
    void monitoredBarrier(const c10d::BarrierOptions& options, bool wait_for_all) override;

    /// Sizes must be equal. A send whose Work is dropped is sent all the same; a receive is cancelled.
    WorkPtr send(std::vector<at::Tensor>& tensors, int to, int tag) override;
    WorkPtr recv(std::vector<at::Tensor>& tensors, int from, int tag) override;
    WorkPtr recvAnysource(std::vector<at::Tensor>& tensors, int tag) override;

    [[nodiscard]] const std::shared_ptr<OperationQueue>& queue() const { return queue_; }

private:
    void report_to_first();
    void await_all(std::chrono::milliseconds limit, bool is_limited, bool wait_for_all);
    void check_root(const char* name, std::int64_t root) const;
    void check_peer(const char* name, int peer) const;
    void check_blocks(const char* name, const Tensors& blocks, const at::Tensor& own) const;
    void check_equal_blocks(const char* name, const Tensors& blocks, const at::Tensor& own) const;
    WorkPtr begin_send(const at::Tensor& tensor, int to, std::uint64_t tag);
    c10::intrusive_ptr<TransferWork>
    begin_receive(c10d::OpType type, const char* title, const at::Tensor& tensor, int from, std::uint64_t tag);

    std::shared_ptr<Executor> executor_; ///< before what runs on it
    std::shared_ptr<OperationQueue> queue_;
    std::shared_ptr<Mover> mover_;
    Guarded<std::map<std::string, int>> uses_{}; ///< of the name of a sub-group
};

/// Returns a ProcessGroup whose CPU backend is a MusterBackend over `group`; tensors of `device`, when it is another,
/// go through a StagedBackend. Its store lies within this process: whatever ranks must agree on was agreed in the
/// roster.
[[nodiscard]] c10::intrusive_ptr<c10d::ProcessGroup> make_process_group(std::shared_ptr<collective::Group> group,
                                                                        at::DeviceType device = at::kCPU);

} // namespace muster::process_group
