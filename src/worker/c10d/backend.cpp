#include "worker/c10d/backend.h"

#include "base/assert.h"

#include <ATen/Functions.h>
#include <ATen/core/ivalue.h>
#include <ATen/core/jit_type.h>
#include <torch/csrc/distributed/c10d/HashStore.hpp>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace muster::worker {

namespace {

using collective::ElementType;
using Tensors = std::vector<at::Tensor>;

std::span<std::byte> bytes_of(const at::Tensor& tensor) {
    return {static_cast<std::byte*>(tensor.data_ptr()), tensor.nbytes()};
}

void check_dense(const char* operation, const Tensors& tensors) {
    for (const auto& tensor : tensors) {
        TORCH_CHECK(tensor.defined() && tensor.layout() == at::kStrided && tensor.device().is_cpu(),
                    "Backend muster: ",
                    operation,
                    " takes dense CPU tensors only");
    }
}

ElementType element_type(at::ScalarType type) {
    switch (type) {
    case at::kFloat:
        return ElementType::f32;
    case at::kDouble:
        return ElementType::f64;
    case at::kHalf:
        return ElementType::f16;
    case at::kBFloat16:
        return ElementType::bf16;
    case at::kChar:
        return ElementType::i8;
    case at::kBool:
    case at::kByte:
        return ElementType::u8;
    case at::kInt:
        return ElementType::i32;
    case at::kLong:
        return ElementType::i64;
    default:
        TORCH_CHECK(false, "Backend muster cannot reduce elements of type ", at::toString(type));
    }
}

/// What c10d's operation means to the group, for elements of `type`.
collective::ReduceOp reduction(const c10d::ReduceOp& operation, at::ScalarType type) {
    const bool is_bool = type == at::kBool;
    switch (operation.op_) {
    case c10d::ReduceOp::AVG:
        TORCH_CHECK(at::isFloatingType(type), "Backend muster averages floating-point elements only");
        return collective::ReduceOp::sum;
    // A sum of bytes could reach 2, which is no bool: "or" and "and" are the largest and the smallest.
    case c10d::ReduceOp::SUM:
        return is_bool ? collective::ReduceOp::max : collective::ReduceOp::sum;
    case c10d::ReduceOp::PRODUCT:
        return is_bool ? collective::ReduceOp::min : collective::ReduceOp::product;
    case c10d::ReduceOp::MIN:
        return collective::ReduceOp::min;
    case c10d::ReduceOp::MAX:
        return collective::ReduceOp::max;
    default:
        TORCH_CHECK(false, "Backend muster reduces by sum, avg, product, min and max only");
    }
}

void reduce_in_place(collective::Group& group, const at::Tensor& tensor, const c10d::ReduceOp& operation) {
    const auto type = tensor.scalar_type();
    auto dense = tensor.contiguous(); // the tensor itself when it is already so
    group.all_reduce(bytes_of(dense), element_type(type), reduction(operation, type));
    if (operation.op_ == c10d::ReduceOp::AVG) {
        dense.div_(group.size());
    }
    if (!dense.is_same(tensor)) {
        tensor.copy_(dense);
    }
}

/// Reduces neighbours of one type as one message: many small tensors cost one round trip.
void reduce_coalesced(collective::Group& group, const Tensors& tensors, const c10d::ReduceOp& operation) {
    for (std::size_t first = 0; first < tensors.size();) {
        std::size_t last = first + 1;
        while (last < tensors.size() && tensors[last].scalar_type() == tensors[first].scalar_type()) {
            ++last;
        }
        Tensors parts;
        for (std::size_t i = first; i < last; ++i) {
            parts.push_back(tensors[i].reshape({-1}));
        }
        const auto flat = at::cat(parts);
        reduce_in_place(group, flat, operation);
        std::int64_t offset = 0;
        for (std::size_t i = first; i < last; ++i) {
            tensors[i].copy_(flat.narrow(0, offset, tensors[i].numel()).view(tensors[i].sizes()));
            offset += tensors[i].numel();
        }
        first = last;
    }
}

void gather_into(collective::Group& group, const at::Tensor& input, const Tensors& outputs) {
    std::vector<std::size_t> lengths;
    std::size_t total = 0;
    for (const auto& output : outputs) {
        lengths.push_back(output.nbytes());
        total += output.nbytes();
    }
    const auto gathered = at::empty({static_cast<std::int64_t>(total)}, at::kByte);
    group.all_gather(bytes_of(input.contiguous()), bytes_of(gathered), lengths);
    std::int64_t offset = 0;
    for (const auto& output : outputs) {
        const auto block = gathered.narrow(0, offset, static_cast<std::int64_t>(output.nbytes()));
        offset += static_cast<std::int64_t>(output.nbytes());
        // A view of another element type needs an aligned start, which blocks of odd length do not give.
        output.copy_(block.clone().view(output.scalar_type()).view(output.sizes()));
    }
}

/// One operation: what c10d waits for.
class Operation final : public c10d::Work {
public:
    Operation(int rank,
              c10d::OpType type,
              std::uint64_t sequence,
              Tensors outputs,
              std::chrono::milliseconds limit,
              std::shared_ptr<collective::Group> group)
        : Work{rank, type}, sequence_{sequence}, outputs_{std::move(outputs)}, limit_{limit}, deadline_{Deadline::after(
                                                                                                  limit)},
          group_{std::move(group)}, future_{c10::make_intrusive<c10::ivalue::Future>(
                                        c10::ListType::create(c10::TensorType::get()))} {}

    void complete(const std::exception_ptr& failure) {
        // The future first: whoever returns from wait() may ask it.
        if (failure) {
            future_->setError(failure);
        } else {
            future_->markCompleted(c10::IValue{outputs_});
        }
        finish(failure);
    }

    bool wait(std::chrono::milliseconds timeout) override {
        std::unique_lock lock{mutex_};
        const auto completed = [this] { return completed_; };
        if (timeout != kNoTimeout && !cv_.wait_for(lock, timeout, completed)) {
            TORCH_CHECK(false, words(), " has not finished after ", timeout.count(), " ms; it goes on");
        }
        if (limit_.count() > 0 && !cv_.wait_until(lock, deadline_.at(), completed)) {
            const auto reason = c10::str(words(), " has not finished within its limit of ", limit_.count(), " ms");
            lock.unlock(); // the abort completes this operation, which takes the lock
            group_->abort(reason);
            lock.lock();
        }
        // Bounded: the group ends every operation at its own time limit, or at once after an abort.
        cv_.wait(lock, completed);
        if (exception_) {
            std::rethrow_exception(exception_);
        }
        return true;
    }

    Tensors result() override { return outputs_; }
    uint64_t getSequencenumber() const override { return sequence_; }
    c10::intrusive_ptr<c10::ivalue::Future> getFuture() override { return future_; }

private:
    [[nodiscard]] std::string words() const {
        return c10::str("rank ", rank_, ": ", c10d::opTypeToString(opType_), " number ", sequence_);
    }

    std::uint64_t sequence_;
    Tensors outputs_;
    std::chrono::milliseconds limit_; ///< 0: only the group's
    Deadline deadline_;
    std::shared_ptr<collective::Group> group_;
    c10::intrusive_ptr<c10::ivalue::Future> future_;
};

} // namespace

/// The operations that were asked for, and the one thread that runs them. The thread shares the ownership, because a
/// future's callback may drop the last reference to the backend on that very thread.
class MusterBackend::Queue : public std::enable_shared_from_this<Queue> {
public:
    using Action = std::function<void(collective::Group&)>;

    explicit Queue(std::shared_ptr<collective::Group> group) : group_{std::move(group)} {}

    void start() {
        thread_ = std::thread{[self = shared_from_this()] { self->run(); }};
    }

    c10::intrusive_ptr<c10d::Work>
    push(c10d::OpType type, Tensors outputs, std::chrono::milliseconds timeout, Action action) {
        const auto limit = timeout.count() > 0 ? timeout : std::chrono::milliseconds{timeout_ms_.load()};
        const std::scoped_lock lock{mutex_};
        TORCH_CHECK(!closed_, "Backend muster was shut down");
        auto work =
            c10::make_intrusive<Operation>(group_->rank(), type, sequence_++, std::move(outputs), limit, group_);
        entries_.push_back({work, std::move(action)});
        wake_.notify_one();
        return work;
    }

    void close() {
        {
            const std::scoped_lock lock{mutex_};
            closed_ = true;
            wake_.notify_one();
        }
        const std::scoped_lock lock{join_mutex_};
        if (!thread_.joinable()) {
            return;
        }
        if (thread_.get_id() == std::this_thread::get_id()) {
            thread_.detach(); // it ends by itself: closed, and it owns what it uses
        } else {
            thread_.join();
        }
    }

    void set_timeout(std::chrono::milliseconds timeout) { timeout_ms_ = std::max<std::int64_t>(0, timeout.count()); }
    [[nodiscard]] std::chrono::milliseconds timeout() const { return std::chrono::milliseconds{timeout_ms_.load()}; }
    [[nodiscard]] bool failed() const { return failed_; }
    [[nodiscard]] collective::Group& group() { return *group_; }
    [[nodiscard]] std::uint64_t sequence() {
        const std::scoped_lock lock{mutex_};
        return sequence_;
    }

private:
    struct Entry {
        c10::intrusive_ptr<Operation> work;
        Action action;
    };

    void run() {
        const at::NoGradGuard no_grad;
        while (true) {
            Entry entry;
            {
                std::unique_lock lock{mutex_};
                // Waits for work, not for a peer: close() ends it.
                wake_.wait(lock, [this] { return closed_ || !entries_.empty(); });
                if (entries_.empty()) {
                    return;
                }
                entry = std::move(entries_.front());
                entries_.pop_front();
            }
            std::exception_ptr failure;
            try {
                entry.action(*group_);
            } catch (...) { // handed to whoever waits for the operation
                failure = std::current_exception();
                failed_ = true;
            }
            entry.action = nullptr;
            entry.work->complete(failure);
        }
    }

    std::shared_ptr<collective::Group> group_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<Entry> entries_;
    std::uint64_t sequence_{0};
    bool closed_{false};
    std::atomic<bool> failed_{false};
    std::atomic<std::int64_t> timeout_ms_{0};
    std::mutex join_mutex_;
    std::thread thread_;
};

MusterBackend::MusterBackend(std::shared_ptr<collective::Group> group)
    : c10d::Backend{group->rank(), group->size()}, queue_{std::make_shared<Queue>(std::move(group))} {
    queue_->start();
    init();
}

MusterBackend::~MusterBackend() {
    queue_->close();
}

void MusterBackend::abort() {
    queue_->group().abort(c10::str("rank ", rank_, " aborted its process group"));
}

void MusterBackend::shutdown() {
    queue_->close();
}

c10::intrusive_ptr<c10d::Backend::Options> MusterBackend::getBackendOptions() {
    return c10::make_intrusive<Options>("muster", queue_->timeout());
}

void MusterBackend::setTimeout(std::chrono::milliseconds timeout) {
    queue_->set_timeout(timeout);
}

uint64_t MusterBackend::getSequenceNumberForGroup() {
    return queue_->sequence();
}

c10d::ErrorType MusterBackend::getError() {
    return queue_->failed() ? c10d::ErrorType::COMM_ERROR : c10d::ErrorType::SUCCESS;
}

c10::intrusive_ptr<c10d::Work> MusterBackend::allreduce(std::vector<at::Tensor>& tensors,
                                                        const c10d::AllreduceOptions& options) {
    TORCH_CHECK(!options.sparseIndices.has_value(), "Backend muster does not reduce sparse tensors");
    check_dense("allreduce", tensors);
    for (const auto& tensor : tensors) { // refuse here, not on the other thread
        (void)element_type(tensor.scalar_type());
        (void)reduction(options.reduceOp, tensor.scalar_type());
    }
    return queue_->push(c10d::OpType::ALLREDUCE,
                        tensors,
                        options.timeout,
                        [tensors, operation = options.reduceOp](collective::Group& group) {
                            for (const auto& tensor : tensors) {
                                reduce_in_place(group, tensor, operation);
                            }
                        });
}

c10::intrusive_ptr<c10d::Work> MusterBackend::allreduce_coalesced(std::vector<at::Tensor>& tensors,
                                                                  const c10d::AllreduceCoalescedOptions& options) {
    check_dense("allreduce_coalesced", tensors);
    for (const auto& tensor : tensors) {
        (void)element_type(tensor.scalar_type());
        (void)reduction(options.reduceOp, tensor.scalar_type());
    }
    return queue_->push(c10d::OpType::ALLREDUCE_COALESCED,
                        tensors,
                        options.timeout,
                        [tensors, operation = options.reduceOp](collective::Group& group) {
                            reduce_coalesced(group, tensors, operation);
                        });
}

c10::intrusive_ptr<c10d::Work> MusterBackend::broadcast(std::vector<at::Tensor>& tensors,
                                                        const c10d::BroadcastOptions& options) {
    check_dense("broadcast", tensors);
    TORCH_CHECK(options.rootRank >= 0 && options.rootRank < size_ && options.rootTensor == 0,
                "Backend muster: broadcast from rank ",
                options.rootRank,
                " of ",
                size_);
    return queue_->push(c10d::OpType::BROADCAST,
                        tensors,
                        options.timeout,
                        [tensors, root = static_cast<int>(options.rootRank)](collective::Group& group) {
                            for (const auto& tensor : tensors) {
                                const auto dense = tensor.contiguous();
                                group.broadcast(bytes_of(dense), root);
                                if (!dense.is_same(tensor) && group.rank() != root) {
                                    tensor.copy_(dense);
                                }
                            }
                        });
}

c10::intrusive_ptr<c10d::Work> MusterBackend::allgather(std::vector<std::vector<at::Tensor>>& outputs,
                                                        std::vector<at::Tensor>& inputs,
                                                        const c10d::AllgatherOptions& options) {
    TORCH_CHECK(inputs.size() == 1 && outputs.size() == 1, "Backend muster: allgather takes one input tensor");
    const auto& input = inputs.front();
    const auto& blocks = outputs.front();
    check_dense("allgather", inputs);
    check_dense("allgather", blocks);
    TORCH_CHECK(blocks.size() == static_cast<std::size_t>(size_), "Backend muster: allgather needs one output a rank");
    for (const auto& block : blocks) {
        TORCH_CHECK(block.scalar_type() == input.scalar_type(), "Backend muster: allgather of different types");
    }
    TORCH_CHECK(blocks[static_cast<std::size_t>(rank_)].nbytes() == input.nbytes(),
                "Backend muster: allgather's own output has another size than the input");
    return queue_->push(c10d::OpType::ALLGATHER, blocks, options.timeout, [input, blocks](collective::Group& group) {
        gather_into(group, input, blocks);
    });
}

c10::intrusive_ptr<c10d::Work>
MusterBackend::_allgather_base(at::Tensor& output, at::Tensor& input, const c10d::AllgatherOptions& options) {
    check_dense("_allgather_base", {output, input});
    TORCH_CHECK(output.scalar_type() == input.scalar_type() && output.numel() == input.numel() * size_,
                "Backend muster: _allgather_base needs an output of ",
                size_,
                " times the input's size and of its type");
    return queue_->push(
        c10d::OpType::_ALLGATHER_BASE, {output}, options.timeout, [output, input](collective::Group& group) {
            const auto dense = output.contiguous();
            const std::vector<std::size_t> lengths(static_cast<std::size_t>(group.size()), input.nbytes());
            group.all_gather(bytes_of(input.contiguous()), bytes_of(dense), lengths);
            if (!dense.is_same(output)) {
                output.copy_(dense);
            }
        });
}

c10::intrusive_ptr<c10d::Work> MusterBackend::barrier(const c10d::BarrierOptions& options) {
    return queue_->push(c10d::OpType::BARRIER, {}, options.timeout, [](collective::Group& group) { group.barrier(); });
}

c10::intrusive_ptr<c10d::ProcessGroup> make_process_group(std::shared_ptr<collective::Group> group) {
    MUSTER_ASSERT(group != nullptr);
    const int rank = group->rank();
    const int size = group->size();
    const auto store = c10::make_intrusive<c10d::HashStore>();
    auto process_group = c10::make_intrusive<c10d::ProcessGroup>(store, rank, size);
    process_group->setBackend(c10::DeviceType::CPU,
                              c10d::ProcessGroup::BackendType::CUSTOM,
                              c10::make_intrusive<MusterBackend>(std::move(group)));
    process_group->setDefaultBackend(c10d::ProcessGroup::BackendType::CUSTOM);
    process_group->setGroupName("muster");
    return process_group;
}

} // namespace muster::worker
