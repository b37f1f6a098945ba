#include "process_group/staged_backend.h"

#include "process_group/tensors.h"

#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>
#include <ATen/core/jit_type.h>

#include <numeric>

namespace muster::process_group {
namespace {

using WorkPtr = c10::intrusive_ptr<c10d::Work>;
using FuturePtr = c10::intrusive_ptr<c10::ivalue::Future>;

/// Tensors on a device and their places in host memory, which lie one after the other.
struct Stage {
    Tensors device;
    Tensors host;

    explicit Stage(Tensors tensors) : device{std::move(tensors)} {
        TORCH_CHECK(!device.empty(), "Backend muster: no tensors");
        check_one_type("an operation on a device", device);
        std::int64_t elements = 0;
        for (const at::Tensor& tensor : device) {
            TORCH_CHECK(tensor.device() == device.front().device() && tensor.layout() == at::kStrided,
                        "Backend muster: dense tensors of one device are needed");
            elements += tensor.numel();
        }
        at::Tensor whole = at::empty(
            {elements}, at::TensorOptions{}.dtype(device.front().scalar_type()).device(at::kCPU).pinned_memory(true));
        std::int64_t begin = 0;
        for (const at::Tensor& tensor : device) {
            host.push_back(whole.narrow(0, begin, tensor.numel()).view(tensor.sizes()));
            begin += tensor.numel();
        }
    }

    void to_host() const {
        const at::NoGradGuard no_grad;
        for (std::size_t i = 0; i < device.size(); ++i) {
            host[i].copy_(device[i]); // waits for the device
        }
    }
    void to_device() const {
        const at::NoGradGuard no_grad;
        for (std::size_t i = 0; i < device.size(); ++i) {
            device[i].copy_(host[i]);
        }
    }
};

/// An operation in host memory, and after it the way back.
class StagedWork final : public c10d::Work {
public:
    /// `inner` is under way in host memory; `copy_back` brings what it changed to `outputs`.
    StagedWork(int rank, c10d::OpType type, WorkPtr inner, Tensors outputs, const std::function<void()>& copy_back)
        : Work{rank, type}, inner_{std::move(inner)}, outputs_{std::move(outputs)},
          future_{c10::make_intrusive<c10::ivalue::Future>(c10::ListType::create(c10::TensorType::get()),
                                                           std::vector<c10::Device>{outputs_.front().device()})} {
        // On the thread that completes the inner one. It must not hold this work, which holds the inner one.
        inner_->getFuture()->addCallback([future = future_, outputs = outputs_, copy_back](auto& done) {
            if (done.hasError()) {
                future->setError(done.exception_ptr());
                return;
            }
            try {
                copy_back();
            } catch (...) { // handed to whoever waits
                future->setError(std::current_exception());
                return;
            }
            future->markCompleted(c10::IValue{outputs});
        });
    }

    bool isCompleted() override { return future_->completed(); }
    bool isSuccess() const override { return future_->completed() && !future_->hasError(); }
    std::exception_ptr exception() const override { return future_->hasError() ? future_->exception_ptr() : nullptr; }
    bool wait(std::chrono::milliseconds timeout) override {
        inner_->wait(timeout); // with its time limits and its words
        future_->waitAndThrow();
        return true;
    }
    void abort() override { inner_->abort(); }
    Tensors result() override { return outputs_; }
    uint64_t getSequencenumber() const override { return inner_->getSequencenumber(); }
    FuturePtr getFuture() override { return future_; }

private:
    WorkPtr inner_;
    Tensors outputs_;
    FuturePtr future_;
};

WorkPtr staged(int rank, c10d::OpType type, WorkPtr inner, Tensors outputs, const std::function<void()>& copy_back) {
    return c10::make_intrusive<StagedWork>(rank, type, std::move(inner), std::move(outputs), copy_back);
}

/// The only list of an operation that has a block for each rank.
const Tensors& blocks_of(const char* name, const std::vector<Tensors>& lists, int ranks) {
    TORCH_CHECK(lists.size() == 1 && lists.front().size() == static_cast<std::size_t>(ranks),
                "Backend muster: ",
                name,
                " takes one list of a block for each rank");
    return lists.front();
}

const at::Tensor& only(const char* name, const Tensors& tensors) {
    TORCH_CHECK(tensors.size() == 1, "Backend muster: ", name, " takes one tensor, not ", tensors.size());
    return tensors.front();
}

} // namespace

StagedBackend::StagedBackend(c10::intrusive_ptr<MusterBackend> host)
    : Backend{host->getRank(), host->getSize()}, host_{std::move(host)} {
    init();
}

WorkPtr StagedBackend::allreduce(Tensors& tensors, const c10d::AllreduceOptions& options) {
    Stage stage{tensors};
    stage.to_host();
    auto inner = host_->allreduce(stage.host, options);
    return staged(rank_, c10d::OpType::ALLREDUCE, std::move(inner), tensors, [stage] { stage.to_device(); });
}

WorkPtr StagedBackend::broadcast(Tensors& tensors, const c10d::BroadcastOptions& options) {
    Stage stage{tensors};
    if (options.rootRank == rank_) {
        stage.to_host();
    }
    auto inner = host_->broadcast(stage.host, options);
    return staged(rank_, c10d::OpType::BROADCAST, std::move(inner), tensors, [stage] { stage.to_device(); });
}

WorkPtr
StagedBackend::allgather(std::vector<Tensors>& outputs, Tensors& inputs, const c10d::AllgatherOptions& options) {
    const at::Tensor& input = only("allgather", inputs);
    const Stage stage{blocks_of("allgather", outputs, size_)};
    std::vector<Tensors> host_outputs{stage.host};
    Tensors host_inputs{stage.host[static_cast<std::size_t>(rank_)]};
    TORCH_CHECK(input.numel() == host_inputs[0].numel(), "Backend muster: allgather into a block of another size");
    host_inputs[0].copy_(input.detach().view_as(host_inputs[0]));
    auto inner = host_->allgather(host_outputs, host_inputs, options);
    return staged(rank_, c10d::OpType::ALLGATHER, std::move(inner), outputs.front(), [stage] { stage.to_device(); });
}

WorkPtr StagedBackend::reduce_scatter(Tensors& outputs,
                                      std::vector<Tensors>& inputs,
                                      const c10d::ReduceScatterOptions& options) {
    const at::Tensor output = only("reduce_scatter", outputs);
    const Stage stage{blocks_of("reduce_scatter", inputs, size_)};
    stage.to_host();
    std::vector<Tensors> host_inputs{stage.host};
    Tensors host_outputs{stage.host[static_cast<std::size_t>(rank_)]};
    TORCH_CHECK(output.numel() == host_outputs[0].numel(), "Backend muster: reduce_scatter of a block of another size");
    auto inner = host_->reduce_scatter(host_outputs, host_inputs, options);
    return staged(rank_, c10d::OpType::REDUCE_SCATTER, std::move(inner), {output}, [output, own = host_outputs[0]] {
        const at::NoGradGuard no_grad;
        output.copy_(own.view_as(output));
    });
}

} // namespace muster::process_group
