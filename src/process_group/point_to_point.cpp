/// Sends, receives, and the barrier that names who is missing, of MusterBackend.
#include "process_group/backend.h"
#include "process_group/tensors.h"

#include <ATen/Functions.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

namespace muster::process_group {
namespace {

/// Tags of c10d are 32 bits; what is above is ours.
constexpr std::uint64_t barrier_tag = std::uint64_t{1} << 40U;

std::uint64_t tag_of(int tag) {
    return static_cast<std::uint32_t>(tag);
}

const at::Tensor& only(const char* name, const Tensors& tensors) {
    TORCH_CHECK(tensors.size() == 1, "Backend muster: ", name, " takes one tensor, not ", tensors.size());
    check_dense(name, tensors);
    return tensors.front();
}

} // namespace

c10::intrusive_ptr<c10d::Work> MusterBackend::send(Tensors& tensors, int to, int tag) {
    return begin_send(only("send", tensors), to, tag_of(tag));
}

c10::intrusive_ptr<c10d::Work> MusterBackend::recv(Tensors& tensors, int from, int tag) {
    return begin_receive(c10d::OpType::RECV, "muster:recv", only("recv", tensors), from, tag_of(tag));
}

c10::intrusive_ptr<c10d::Work> MusterBackend::recvAnysource(Tensors& tensors, int tag) {
    return begin_receive(c10d::OpType::RECVANYSOURCE,
                         "muster:recvAnySource",
                         only("recvAnysource", tensors),
                         collective::Group::any_rank,
                         tag_of(tag));
}

c10::intrusive_ptr<c10d::Work> MusterBackend::begin_send(const at::Tensor& tensor, int to, std::uint64_t tag) {
    check_peer("send", to);
    const auto sequence = queue_->next_sequence();
    auto buffer = tensor.contiguous();
    auto transfer = queue_->group()->send(bytes_of(buffer), to, tag);
    auto work = c10::make_intrusive<TransferWork>(rank_,
                                                  OperationSpec{c10d::OpType::SEND, "muster:send", {tensor}, {tensor}},
                                                  sequence,
                                                  std::move(buffer),
                                                  std::move(transfer),
                                                  queue_);
    if (!work->isCompleted()) {
        mover_->push(work);
    }
    return work;
}

c10::intrusive_ptr<TransferWork> MusterBackend::begin_receive(
    c10d::OpType type, const char* title, const at::Tensor& tensor, int from, std::uint64_t tag) {
    if (from != collective::Group::any_rank) {
        check_peer("recv", from);
    }
    const auto sequence = queue_->next_sequence();
    auto buffer = tensor.is_contiguous() ? tensor : at::empty_like(tensor, at::MemoryFormat::Contiguous);
    auto transfer = queue_->group()->receive(bytes_of(buffer), from, tag);
    return c10::make_intrusive<TransferWork>(rank_,
                                             OperationSpec{type, title, {tensor}, {tensor}},
                                             sequence,
                                             std::move(buffer),
                                             std::move(transfer),
                                             queue_);
}

void MusterBackend::check_peer(const char* name, int peer) const {
    TORCH_CHECK_VALUE(peer >= 0 && peer < size_ && peer != rank_,
                      "Backend muster: rank ",
                      rank_,
                      " of ",
                      size_,
                      " cannot ",
                      name,
                      peer == rank_ ? " to or from itself" : " to or from rank ",
                      peer);
}

void MusterBackend::monitoredBarrier(const c10d::BarrierOptions& options, bool wait_for_all) {
    // Here a time limit of 0 is one; unset is negative.
    const auto limit = options.timeout.count() >= 0 ? options.timeout : queue_->timeout();
    rank_ == 0 ? await_all(limit, options.timeout.count() >= 0 || limit.count() > 0, wait_for_all) : report_to_first();
}

void MusterBackend::report_to_first() {
    const auto token = at::zeros({1}, at::kByte);
    try {
        begin_send(token, 0, barrier_tag)->wait(kNoTimeout);
        begin_receive(c10d::OpType::RECV, "muster:recv", token, 0, barrier_tag)->wait(kNoTimeout);
    } catch (const std::exception& failure) {
        TORCH_CHECK(
            false,
            "Rank ",
            rank_,
            " successfully reached monitoredBarrier, but received errors while waiting for send/recv from rank 0: ",
            failure.what());
    }
}

void MusterBackend::await_all(std::chrono::milliseconds limit, bool is_limited, bool wait_for_all) {
    const auto deadline = is_limited ? std::optional{Deadline::after(limit)} : std::nullopt;
    std::vector<c10::intrusive_ptr<TransferWork>> arrivals;
    for (int rank = 1; rank < size_; ++rank) {
        const auto token = at::zeros({1}, at::kByte);
        arrivals.push_back(begin_receive(c10d::OpType::RECV, "muster:recv", token, rank, barrier_tag));
    }
    std::vector<int> missing;
    for (int rank = 1; rank < size_ && (missing.empty() || wait_for_all); ++rank) {
        const auto& work = arrivals[static_cast<std::size_t>(rank) - 1];
        if (work->wait_until(deadline)) {
            work->wait(kNoTimeout); // throws when the group has failed meanwhile
        } else {
            missing.push_back(rank);
        }
    }
    if (!missing.empty()) {
        // The words of torch's own backend, for those who look for them.
        const auto reason = fmt::format("[Rank 0]: {} {} failed to pass monitoredBarrier in {} ms{}",
                                        missing.size() == 1 ? "Rank" : "Ranks",
                                        fmt::join(missing, ", "),
                                        limit.count(),
                                        limit.count() == 0 ? "; Rank 0 timed out in monitoredBarrier" : "");
        queue_->group()->abort(reason); // so that the others learn it at once
        TORCH_CHECK(false, reason);
    }
    for (int rank = 1; rank < size_; ++rank) {
        begin_send(at::zeros({1}, at::kByte), rank, barrier_tag)->wait(kNoTimeout);
    }
}

} // namespace muster::process_group
