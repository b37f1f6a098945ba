#include "worker/sharded_state.h"

#include "base/assert.h"
#include "worker/reducer.h"

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <optional>

namespace muster::worker {
namespace {

using Group = c10::intrusive_ptr<c10d::ProcessGroup>;
using FuturePtr = c10::intrusive_ptr<c10::ivalue::Future>;

constexpr std::int64_t signal_loss = 0;
constexpr std::int64_t signal_stop = 1;

/// Parameters that the reducer put together, and the memory in which they lie in the order of their gradients.
struct Bucket {
    std::vector<at::Tensor> parameters;
    at::Tensor gradient;            ///< of this rank's part
    std::vector<at::Tensor> blocks; ///< of the parameters' memory, one for each rank; empty before the first update
};

/// Reduces each part of a bucket to the rank that owns it.
class ScatterHook final : public c10d::CppCommHookInterface<Group> {
public:
    ScatterHook(const Ranks& ranks, const std::vector<double>& shares, std::vector<Bucket>& buckets)
        : CppCommHookInterface{ranks.group()}, own_{ranks.rank()}, shares_{shares}, buckets_{buckets} {}

    FuturePtr runHook(c10d::GradBucket& bucket) override {
        last_bucket_ = std::chrono::steady_clock::now();
        const at::Tensor buffer = bucket.getBufferRef();
        if (rehearsal_) {
            auto nothing_to_wait_for = c10::make_intrusive<c10::ivalue::Future>(c10::TensorType::get());
            nothing_to_wait_for->markCompleted(buffer);
            return nothing_to_wait_for;
        }
        std::vector<std::vector<at::Tensor>> blocks{
            buffer.split_with_sizes(shard_sizes(buffer.numel(), std::span{shares_}))};
        if (bucket.getIndex() == buckets_.size()) {
            buckets_.push_back({.parameters = bucket.getParameters(), .gradient = {}, .blocks = {}});
        }
        at::Tensor& own = buckets_[bucket.getIndex()].gradient;
        own = blocks.front()[own_];
        std::vector<at::Tensor> outputs{own};
        const auto done = state_->reduce_scatter(outputs, blocks)->getFuture();
        // What the reducer wants back is the bucket; only the own part of it is a sum.
        return done->then(
            [buffer](c10::ivalue::Future& reduced) {
                static_cast<void>(reduced.value()); // throws what the group failed with
                return c10::IValue{buffer};
            },
            c10::TensorType::get());
    }

    void set_rehearsal(bool rehearsal) { rehearsal_ = rehearsal; }
    /// When the last bucket was handed over: from then on, backward only waits.
    [[nodiscard]] SteadyTime last_bucket() const { return last_bucket_; }

private:
    std::size_t own_;
    const std::vector<double>& shares_;
    std::vector<Bucket>& buckets_;
    SteadyTime last_bucket_{};
    bool rehearsal_{false};
};

std::int64_t elements_of(const std::vector<at::Tensor>& tensors) {
    std::int64_t elements = 0;
    for (const at::Tensor& tensor : tensors) {
        elements += tensor.numel();
    }
    return elements;
}

/// Moves parameters into one piece of memory, laid out as the reducer lays out their gradients. Returns that memory.
at::Tensor put_together(const std::vector<at::Tensor>& parameters) {
    const at::Tensor whole = at::empty({elements_of(parameters)}, parameters.front().options());
    std::int64_t offset = 0;
    for (const at::Tensor& parameter : parameters) {
        MUSTER_ASSERT(parameter.is_non_overlapping_and_dense());
        const at::Tensor place = whole.as_strided(parameter.sizes(), parameter.strides(), offset);
        place.copy_(parameter);
        parameter.set_data(place);
        offset += parameter.numel();
    }
    return whole;
}

} // namespace

std::vector<std::int64_t> shard_sizes(std::int64_t elements, std::span<const double> shares) {
    std::vector<std::int64_t> sizes;
    double share = 0.0;
    std::int64_t before = 0;
    for (std::size_t rank = 0; rank < shares.size(); ++rank) {
        share += shares[rank];
        const auto cut = static_cast<std::int64_t>(std::llround(share * static_cast<double>(elements)));
        const std::int64_t end = rank + 1 == shares.size() ? elements : std::min(cut, elements);
        sizes.push_back(end - before);
        before = end;
    }
    return sizes;
}

struct ShardedState::Reduction {
    std::vector<double> shares;
    std::vector<Bucket> buckets{};
    std::unique_ptr<c10d::Reducer> reducer{};
    ScatterHook* hook{nullptr}; ///< the reducer's
    bool rehearsed{false};
};

ShardedState::ShardedState(const RecipeOptimizer& settings,
                           std::vector<at::Tensor> parameters,
                           Ranks& ranks,
                           std::vector<double> shares,
                           std::int64_t steps)
    : settings_{settings}, ranks_{ranks}, steps_{steps}, reduction_{std::make_unique<Reduction>(
                                                             Reduction{.shares = std::move(shares)})} {
    MUSTER_ASSERT(!ranks.alone() && reduction_->shares.size() == ranks.size());
    reduction_->reducer = make_reducer(std::move(parameters), ranks.group());
    auto hook = std::make_unique<ScatterHook>(ranks, reduction_->shares, reduction_->buckets);
    reduction_->hook = hook.get();
    reduction_->reducer->register_comm_hook(std::move(hook));
}

ShardedState::~ShardedState() {
    const c10::AutoGradMode no_grad{false};
    for (const Bucket& bucket : reduction_->buckets) {
        for (std::size_t i = 0; !bucket.blocks.empty() && i < bucket.parameters.size(); ++i) {
            bucket.parameters[i].set_data(bucket.parameters[i].detach().clone());
        }
    }
}

bool ShardedState::rehearsed() const {
    return reduction_->rehearsed;
}

void ShardedState::rehearse(const std::function<at::Tensor()>& loss) {
    reduction_->hook->set_rehearsal(true);
    reduction_->reducer->prepare_for_forward();
    const at::Tensor nothing = loss();
    reduction_->reducer->prepare_for_backward({});
    nothing.backward();
    reduction_->hook->set_rehearsal(false);
    reduction_->reducer->rebuild_buckets(); // rank 0's order at all
    reduction_->rehearsed = true;
}

StepOutcome ShardedState::step(const std::function<at::Tensor()>& loss, bool stop_wanted) {
    MUSTER_ASSERT(reduction_->rehearsed);
    reduction_->reducer->prepare_for_forward();
    const at::Tensor own = loss();
    // What all ranks must know before they change anything travels beside the gradients.
    const at::Tensor signal = at::empty({2}, at::kDouble);
    signal[signal_loss] = own.detach();
    signal[signal_stop] = stop_wanted ? 1.0 : 0.0;
    std::vector<at::Tensor> told{signal};
    const auto telling = ranks_.group()->allreduce(told);
    reduction_->reducer->prepare_for_backward({});
    own.backward();
    telling->wait();
    StepOutcome outcome{.loss = signal[signal_loss].item<double>(), .stop = signal[signal_stop].item<double>() > 0.0};
    outcome.finite = std::isfinite(outcome.loss);
    outcome.wait_seconds = seconds_between(reduction_->hook->last_bucket(), std::chrono::steady_clock::now());
    ranks_.add_wait(outcome.wait_seconds);
    if (outcome.finite && !outcome.stop) {
        const double before = ranks_.wait_seconds();
        update();
        outcome.wait_seconds += ranks_.wait_seconds() - before;
    }
    return outcome;
}

void ShardedState::lay_out() {
    const c10::AutoGradMode no_grad{false};
    std::vector<at::Tensor> own;
    for (Bucket& bucket : reduction_->buckets) {
        const at::Tensor whole = put_together(bucket.parameters);
        bucket.blocks = whole.split_with_sizes(shard_sizes(whole.numel(), std::span{reduction_->shares}));
        own.push_back(bucket.blocks[ranks_.rank()]);
    }
    optimizer_ = std::make_unique<Optimizer>(settings_, std::move(own), steps_);
}

void ShardedState::update() {
    if (!optimizer_) {
        lay_out();
    }
    for (const Bucket& bucket : reduction_->buckets) {
        bucket.blocks[ranks_.rank()].mutable_grad() = bucket.gradient;
    }
    std::optional<double> norm;
    if (settings_.clip_norm > 0.0) {
        const at::Tensor squares = at::full({1}, optimizer_->squares_of_gradients(), at::kDouble);
        ranks_.sum(squares);
        norm = std::sqrt(squares.item<double>());
    }
    optimizer_->step(norm);
    gather();
}

void ShardedState::gather() {
    const SteadyTime begin = std::chrono::steady_clock::now();
    std::vector<c10::intrusive_ptr<c10d::Work>> gathering;
    for (const Bucket& bucket : reduction_->buckets) {
        std::vector<std::vector<at::Tensor>> all{bucket.blocks};
        std::vector<at::Tensor> own{bucket.blocks[ranks_.rank()]};
        gathering.push_back(ranks_.group()->allgather(all, own));
    }
    for (const auto& work : gathering) {
        work->wait();
    }
    ranks_.add_wait(seconds_between(begin, std::chrono::steady_clock::now()));
}

std::int64_t ShardedState::state_bytes() const {
    return optimizer_ ? optimizer_->state_bytes() : 0;
}

} // namespace muster::worker
