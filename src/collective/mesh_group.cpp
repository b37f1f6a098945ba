#include "collective/mesh_group.h"

#include "collective/arguments.h"
#include "collective/direct.h"
#include "collective/element.h"
#include "collective/ring.h"
#include "collective/schedule.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace muster::collective {
namespace {

constexpr Step gather_first_step = 1U << 31U;
/// A barrier is an all_reduce of nothing.
const Reduction meeting{ElementType::u8, ReduceOp::sum};

void copy_bytes(std::span<const std::byte> from, std::span<std::byte> to) {
    if (!from.empty()) {
        std::memmove(to.data(), from.data(), from.size());
    }
}

/// One collective. Left by an exception, it ends the group.
class Operation {
public:
    Operation(Channel& channel, const Call& call, std::optional<Deadline> deadline = {}) : channel_{channel} {
        channel_.begin(call, deadline);
    }
    ~Operation() {
        if (!ended_) {
            channel_.abandon();
        }
    }
    Operation(const Operation&) = delete;
    Operation& operator=(const Operation&) = delete;
    void end() {
        ended_ = true;
        channel_.end();
    }

private:
    Channel& channel_;
    bool ended_{false};
};

/// One send or receive. Shares the mesh, so that it may outlive its group.
template <typename Message>
class MeshTransfer final : public Transfer {
public:
    MeshTransfer(std::shared_ptr<Channel> channel, int peer, const Call& call)
        : channel_{std::move(channel)}, peer_{peer}, patience_{channel_->patience_for(call)} {}

    [[nodiscard]] bool done() override {
        if (!message_.done()) {
            channel_->nudge(patience_);
        }
        return message_.done();
    }
    void wait() override { channel_->wait(message_, peer_, patience_); }
    [[nodiscard]] int peer() const override {
        if constexpr (std::is_same_v<Message, Receiving>) {
            return message_.done() ? channel_->number_of(message_.from()) : peer_;
        }
        return peer_;
    }
    [[nodiscard]] Message& message() { return message_; }

private:
    std::shared_ptr<Channel> channel_;
    int peer_;
    Patience patience_;
    Message message_{};
};

std::vector<int> all_ranks(std::size_t size) {
    std::vector<int> ranks(size);
    std::iota(ranks.begin(), ranks.end(), 0);
    return ranks;
}

Call call_of(Collective collective, const Reduction& reduction, std::size_t bytes, std::uint64_t detail) {
    return {.collective = collective,
            .element = reduction.type(),
            .reduce = reduction.op(),
            .bytes = bytes,
            .detail = reduction.type() ? detail : reduction.element_bytes()};
}

template <typename Byte>
std::vector<std::span<Byte>> cut(std::span<Byte> data, std::span<const std::size_t> lengths) {
    std::vector<std::span<Byte>> parts;
    for (const auto& block : blocks_of(lengths)) {
        parts.push_back(data.empty() ? std::span<Byte>{} : data.subspan(block.offset, block.bytes));
    }
    return parts;
}

} // namespace

MeshGroup::MeshGroup(const GroupSpec& spec, Edges edges)
    : channel_{std::make_shared<Channel>(
          std::make_shared<Mesh>(spec, std::move(edges)), 0, all_ranks(spec.members.size()))} {}

std::size_t MeshGroup::whole_segment(std::size_t element_bytes) const {
    return std::max(channel_->mesh().segment_bytes() / element_bytes, std::size_t{1}) * element_bytes;
}

void MeshGroup::all_reduce(std::span<std::byte> data, ElementType type, ReduceOp op, WireFormat wire) {
    check_reduction(data.size(), type, op);
    check_wire(type, wire);
    reduce_all(data, Reduction{type, op}, wire);
}

void MeshGroup::all_reduce(std::span<std::byte> data, const Reducer& reducer) {
    check_reducer(data.size(), reducer);
    reduce_all(data, Reduction{reducer}, WireFormat::as_is);
}

void MeshGroup::reduce_all(std::span<std::byte> data, const Reduction& reduction, WireFormat wire) {
    Operation operation{*channel_,
                        call_of(Collective::all_reduce, reduction, data.size(), static_cast<std::uint64_t>(wire))};
    if (path_for(data.size()) == Path::ring) {
        reduce_on_ring(data, reduction, wire);
    } else {
        reduce_without_ring(data, reduction);
    }
    operation.end();
}

void MeshGroup::reduce_without_ring(std::span<std::byte> data, const Reduction& reduction) {
    if (path_for(data.size()) == Path::direct) {
        exchange_and_reduce(*channel_, data, reduction);
    } else {
        double_and_reduce(*channel_, data, reduction);
    }
}

Path MeshGroup::path_for(std::size_t bytes) const {
    return collective::path_for(channel_->mesh().tuning(), size(), bytes);
}

void MeshGroup::reduce_on_ring(std::span<std::byte> data, const Reduction& reduction, WireFormat wire) {
    const auto width = reduction.element_bytes();
    const auto blocks = even_blocks(data.size() / width, width, size());
    if (reduction.has_work_format()) {
        // Sums of halves are kept in f32 and rounded once; the results travel as they are.
        const auto& own = blocks[static_cast<std::size_t>(rank())];
        reduce_blocks(*channel_, data, blocks, data.subspan(own.offset, own.bytes), reduction);
        run_ring(
            *channel_, ring_all_gather(blocks, rank(), whole_segment(width)), data, {.first_step = gather_first_step});
        return;
    }
    run_ring(*channel_,
             ring_all_reduce(blocks, rank(), whole_segment(width)),
             data,
             {.reduction = &reduction, .wire = wire});
    if (wire != WireFormat::as_is) {
        // The one rank that has its block unrounded rounds it like the others.
        const auto half = wire == WireFormat::bf16 ? ElementType::bf16 : ElementType::f16;
        const auto& block = blocks[static_cast<std::size_t>(channel_->next())];
        const auto part = data.subspan(block.offset, block.bytes);
        std::vector<std::byte> rounded(part.size() / 2);
        narrow(part, half, rounded);
        widen(rounded, half, part);
    }
}

void MeshGroup::reduce(std::span<std::byte> data, ElementType type, ReduceOp op, int root) {
    check_reduction(data.size(), type, op);
    check_root(root, size());
    const Reduction reduction{type, op};
    Operation operation{*channel_,
                        call_of(Collective::reduce, reduction, data.size(), static_cast<std::uint64_t>(root))};
    reduce_along_chain(*channel_, data, reduction, root);
    operation.end();
}

void MeshGroup::reduce_scatter(std::span<const std::byte> input,
                               std::span<std::byte> output,
                               std::span<const std::size_t> lengths,
                               ElementType type,
                               ReduceOp op) {
    check_reduction(input.size(), type, op);
    scatter_reduced(input, output, lengths, Reduction{type, op});
}

void MeshGroup::reduce_scatter(std::span<const std::byte> input,
                               std::span<std::byte> output,
                               std::span<const std::size_t> lengths,
                               const Reducer& reducer) {
    check_reducer(input.size(), reducer);
    scatter_reduced(input, output, lengths, Reduction{reducer});
}

void MeshGroup::scatter_reduced(std::span<const std::byte> input,
                                std::span<std::byte> output,
                                std::span<const std::size_t> lengths,
                                const Reduction& reduction) {
    check_blocks("reduce_scatter", input.size(), output.size(), lengths, rank(), size());
    check_whole_blocks(lengths, reduction.element_bytes());
    Operation operation{*channel_, call_of(Collective::reduce_scatter, reduction, input.size(), hash_of(lengths))};
    reduce_blocks(*channel_, input, blocks_of(lengths), output, reduction);
    operation.end();
}

void MeshGroup::broadcast(std::span<std::byte> data, int root) {
    check_root(root, size());
    Operation operation{
        *channel_,
        {.collective = Collective::broadcast, .bytes = data.size(), .detail = static_cast<std::uint64_t>(root)}};
    if (path_for(data.size()) == Path::ring) {
        run_ring(
            *channel_, ring_broadcast(data.size(), size(), rank(), root, channel_->mesh().segment_bytes()), data, {});
    } else {
        std::vector<std::span<const std::byte>> send(static_cast<std::size_t>(size()));
        std::vector<std::span<std::byte>> receive(static_cast<std::size_t>(size()));
        if (rank() == root) {
            std::ranges::fill(send, data);
            send[static_cast<std::size_t>(root)] = {};
        } else {
            receive[static_cast<std::size_t>(root)] = data;
        }
        exchange_blocks(*channel_, send, receive);
    }
    operation.end();
}

void MeshGroup::all_gather(std::span<const std::byte> input,
                           std::span<std::byte> output,
                           std::span<const std::size_t> lengths) {
    check_blocks("all_gather", output.size(), input.size(), lengths, rank(), size());
    Operation operation{*channel_,
                        {.collective = Collective::all_gather, .bytes = output.size(), .detail = hash_of(lengths)}};
    const auto receive = cut(output, lengths);
    const auto own = receive[static_cast<std::size_t>(rank())];
    copy_bytes(input, own);
    if (path_for(std::ranges::max(lengths)) == Path::ring) {
        run_ring(*channel_, ring_all_gather(blocks_of(lengths), rank(), channel_->mesh().segment_bytes()), output, {});
    } else {
        std::vector<std::span<const std::byte>> send(static_cast<std::size_t>(size()), own);
        exchange_blocks(*channel_, send, receive);
    }
    operation.end();
}

void MeshGroup::gather(std::span<const std::byte> input,
                       std::span<std::byte> output,
                       std::span<const std::size_t> lengths,
                       int root) {
    check_root(root, size());
    check_rooted("gather", output.size(), input.size(), lengths, rank(), size(), root);
    Operation operation{*channel_,
                        {.collective = Collective::gather,
                         .bytes = std::accumulate(lengths.begin(), lengths.end(), std::uint64_t{0}),
                         .detail = hash_of(lengths) + static_cast<std::uint64_t>(root)}};
    std::vector<std::span<const std::byte>> send(static_cast<std::size_t>(size()));
    send[static_cast<std::size_t>(root)] = input;
    const auto receive =
        rank() == root ? cut(output, lengths) : std::vector<std::span<std::byte>>(static_cast<std::size_t>(size()));
    exchange_blocks(*channel_, send, receive);
    operation.end();
}

void MeshGroup::scatter(std::span<const std::byte> input,
                        std::span<std::byte> output,
                        std::span<const std::size_t> lengths,
                        int root) {
    check_root(root, size());
    check_rooted("scatter", input.size(), output.size(), lengths, rank(), size(), root);
    Operation operation{*channel_,
                        {.collective = Collective::scatter,
                         .bytes = std::accumulate(lengths.begin(), lengths.end(), std::uint64_t{0}),
                         .detail = hash_of(lengths) + static_cast<std::uint64_t>(root)}};
    const auto send = rank() == root ? cut(input, lengths)
                                     : std::vector<std::span<const std::byte>>(static_cast<std::size_t>(size()));
    std::vector<std::span<std::byte>> receive(static_cast<std::size_t>(size()));
    receive[static_cast<std::size_t>(root)] = output;
    exchange_blocks(*channel_, send, receive);
    operation.end();
}

void MeshGroup::all_to_all(std::span<const std::byte> input,
                           std::span<const std::size_t> send_lengths,
                           std::span<std::byte> output,
                           std::span<const std::size_t> receive_lengths) {
    check_lengths("all_to_all", input.size(), send_lengths, size());
    check_lengths("all_to_all", output.size(), receive_lengths, size());
    const auto self = static_cast<std::size_t>(rank());
    check_own_block(send_lengths[self], receive_lengths[self]);
    Operation operation{*channel_, {.collective = Collective::all_to_all}};
    exchange_blocks(*channel_, cut(input, send_lengths), cut(output, receive_lengths), EmptyBlocks::travel);
    operation.end();
}

void MeshGroup::meet(Deadline deadline) {
    Operation operation{*channel_, {.collective = Collective::barrier}, deadline};
    reduce_without_ring({}, meeting);
    operation.end();
}

void MeshGroup::barrier() {
    Operation operation{*channel_, {.collective = Collective::barrier}};
    reduce_without_ring({}, meeting);
    operation.end();
}

std::unique_ptr<Transfer> MeshGroup::send(std::span<const std::byte> data, int peer, std::uint64_t tag) {
    check_peer(peer, rank(), size());
    auto transfer = std::make_unique<MeshTransfer<Sending>>(
        channel_, peer, Call{.collective = Collective::transfer, .sequence = tag, .bytes = data.size()});
    channel_->send_transfer(transfer->message(), peer, tag, data);
    return transfer;
}

std::unique_ptr<Transfer> MeshGroup::receive(std::span<std::byte> data, int peer, std::uint64_t tag) {
    if (peer != any_rank) {
        check_peer(peer, rank(), size());
    }
    auto transfer = std::make_unique<MeshTransfer<Receiving>>(
        channel_, peer, Call{.collective = Collective::transfer, .sequence = tag, .bytes = data.size()});
    channel_->receive_transfer(transfer->message(), peer, tag, data);
    return transfer;
}

std::unique_ptr<Group> MeshGroup::subgroup(const std::string& name, std::span<const int> ranks) {
    check_subgroup(ranks, rank(), size());
    std::vector<int> members;
    for (const int rank : ranks) {
        members.push_back(channel_->ranks()[static_cast<std::size_t>(rank)]);
    }
    const auto id = channel_id(channel_->id(), name, members);
    return std::make_unique<MeshGroup>(std::make_shared<Channel>(channel_->shared_mesh(), id, std::move(members)));
}

} // namespace muster::collective
