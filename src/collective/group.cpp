#include "collective/group.h"

#include "collective/admission.h"
#include "collective/arguments.h"
#include "collective/element.h"
#include "collective/join.h"
#include "collective/mesh.h"
#include "collective/schedule.h"
#include "collective/solo_group.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

namespace muster::collective {
namespace {

// Up to so many ranks a direct exchange costs less than the rounds of recursive doubling (measured on one host).
constexpr int direct_ranks_max = 4;
constexpr std::size_t bytes_max = std::size_t{1} << 30U; // of a segment or a small message
constexpr std::size_t segment_bytes_min = 64;
constexpr std::uint32_t fold_step = 0;
constexpr std::uint32_t unfold_step = 1000;
constexpr std::uint32_t gather_first_step = 1U << 31U;

using Bytes = std::vector<std::byte>;

void copy_bytes(std::span<const std::byte> from, std::span<std::byte> to) {
    if (!from.empty()) {
        std::memmove(to.data(), from.data(), from.size());
    }
}

/// One operation of the mesh. Left by an exception, it ends the group.
class Operation {
public:
    Operation(Mesh& mesh, Call call) : mesh_{mesh} { mesh_.begin(call, std::nullopt); }
    Operation(Mesh& mesh, Call call, Deadline deadline) : mesh_{mesh} { mesh_.begin(call, deadline); }
    ~Operation() {
        if (!ended_) {
            mesh_.abandon();
        }
    }
    Operation(const Operation&) = delete;
    Operation& operator=(const Operation&) = delete;
    void end() {
        ended_ = true;
        mesh_.end();
    }

private:
    Mesh& mesh_;
    bool ended_{false};
};

class MeshGroup final : public Group {
public:
    MeshGroup(const GroupSpec& spec, Edges edges, std::shared_ptr<WireCounters> counters)
        : segment_bytes_{spec.segment_bytes}, small_bytes_max_{spec.small_bytes_max}, mesh_{spec,
                                                                                            std::move(edges),
                                                                                            std::move(counters)} {}

    [[nodiscard]] int rank() const override { return mesh_.rank(); }
    [[nodiscard]] int size() const override { return mesh_.size(); }
    void all_reduce(std::span<std::byte> data, ElementType type, ReduceOp op) override;
    void broadcast(std::span<std::byte> data, int root) override;
    void all_gather(std::span<const std::byte> input,
                    std::span<std::byte> output,
                    std::span<const std::size_t> lengths) override;
    void barrier() override;
    void abort(const std::string& reason) override { mesh_.abort(reason); }
    [[nodiscard]] GroupTraffic traffic() const override { return mesh_.traffic(); }
    /// The first barrier: all ranks have all their connections.
    void meet(Deadline deadline);

private:
    void small_all_reduce(std::span<std::byte> data, ElementType type, ReduceOp op);
    void ring_all_reduce_halves(std::span<std::byte> data, ElementType type, ReduceOp op);
    void exchange_directly(std::span<std::byte> data, ElementType type, ReduceOp op);
    void double_recursively(std::span<std::byte> data, ElementType type, ReduceOp op);
    void combine(std::span<std::byte> data, int partner, Bytes incoming, ElementType type, ReduceOp op) const;
    [[nodiscard]] std::size_t whole_segment(std::size_t element_bytes) const {
        return std::max(segment_bytes_ / element_bytes, std::size_t{1}) * element_bytes;
    }

    const std::size_t segment_bytes_;
    const std::size_t small_bytes_max_;
    Mesh mesh_;
};

void MeshGroup::all_reduce(std::span<std::byte> data, ElementType type, ReduceOp op) {
    check_all_reduce(data, type);
    Operation operation{mesh_,
                        {.collective = Collective::all_reduce, .element = type, .reduce = op, .bytes = data.size()}};
    if (data.size() <= small_bytes_max_) {
        small_all_reduce(data, type, op);
    } else if (is_half(type)) {
        ring_all_reduce_halves(data, type, op);
    } else {
        const auto blocks = even_blocks(data.size() / size_of(type), size_of(type), size());
        mesh_.ring(ring_all_reduce(blocks, rank(), whole_segment(size_of(type))), data, {type, op}, 0);
    }
    operation.end();
}

void MeshGroup::broadcast(std::span<std::byte> data, int root) {
    check_root(root, size());
    Operation operation{
        mesh_, {.collective = Collective::broadcast, .bytes = data.size(), .detail = static_cast<std::uint64_t>(root)}};
    if (data.size() > small_bytes_max_) {
        mesh_.ring(ring_broadcast(data.size(), size(), rank(), root, segment_bytes_), data, {}, 0);
    } else if (rank() == root) {
        for (int peer = 0; peer < size(); ++peer) {
            if (peer != root) {
                mesh_.send(peer, 0, data);
            }
        }
        mesh_.flush();
    } else {
        copy_bytes(mesh_.receive(root, 0, data.size()), data);
    }
    operation.end();
}

void MeshGroup::all_gather(std::span<const std::byte> input,
                           std::span<std::byte> output,
                           std::span<const std::size_t> lengths) {
    check_all_gather(input, output, lengths, rank(), size());
    Operation operation{mesh_,
                        {.collective = Collective::all_gather, .bytes = output.size(), .detail = hash_of(lengths)}};
    const auto blocks = blocks_of(lengths);
    const auto place = [&](int peer) {
        const auto& block = blocks[static_cast<std::size_t>(peer)];
        return output.subspan(block.offset, block.bytes);
    };
    copy_bytes(input, place(rank()));
    if (std::ranges::max(lengths) > small_bytes_max_) {
        mesh_.ring(ring_all_gather(blocks, rank(), segment_bytes_), output, {}, 0);
    } else {
        for (int i = 1; i < size(); ++i) {
            mesh_.send((rank() + i) % size(), 0, place(rank()));
        }
        for (int peer = 0; peer < size(); ++peer) {
            if (peer != rank()) {
                copy_bytes(mesh_.receive(peer, 0, place(peer).size()), place(peer));
            }
        }
        mesh_.flush();
    }
    operation.end();
}

void MeshGroup::meet(Deadline deadline) {
    Operation operation{mesh_, {.collective = Collective::barrier}, deadline};
    small_all_reduce({}, ElementType::u8, ReduceOp::sum);
    operation.end();
}

void MeshGroup::barrier() {
    Operation operation{mesh_, {.collective = Collective::barrier}};
    small_all_reduce({}, ElementType::u8, ReduceOp::sum);
    operation.end();
}

void MeshGroup::small_all_reduce(std::span<std::byte> data, ElementType type, ReduceOp op) {
    if (size() <= direct_ranks_max) {
        exchange_directly(data, type, op);
    } else if (is_half(type)) {
        Bytes floats(2 * data.size());
        widen(data, type, floats);
        double_recursively(floats, ElementType::f32, op);
        narrow(floats, type, data);
    } else {
        double_recursively(data, type, op);
    }
    mesh_.flush();
}

/// Everybody sends to everybody and combines in the order of the ranks, so that all hold the same bits.
void MeshGroup::exchange_directly(std::span<std::byte> data, ElementType type, ReduceOp op) {
    for (int i = 1; i < size(); ++i) {
        mesh_.send((rank() + i) % size(), 0, data);
    }
    const auto work_type = is_half(type) ? ElementType::f32 : type;
    const auto contribution = [&](int peer) {
        Bytes block = peer == rank() ? Bytes(data.begin(), data.end()) : mesh_.receive(peer, 0, data.size());
        if (!is_half(type)) {
            return block;
        }
        Bytes floats(2 * block.size());
        widen(block, type, floats);
        return floats;
    };
    Bytes result = contribution(0);
    for (int peer = 1; peer < size(); ++peer) {
        reduce_into(result, contribution(peer), work_type, op);
    }
    if (is_half(type)) {
        narrow(result, type, data);
    } else {
        copy_bytes(result, data);
    }
}

/// The lower rank's part is the left operand on both sides, so that both compute the same bits.
void MeshGroup::combine(std::span<std::byte> data, int partner, Bytes incoming, ElementType type, ReduceOp op) const {
    if (partner > rank()) {
        reduce_into(data, incoming, type, op);
    } else {
        reduce_into(incoming, data, type, op);
        copy_bytes(incoming, data);
    }
}

/// Of the first 2 * (size - power) ranks the odd ones hand their part to the even one before them and get the result
/// back; the power-of-two many others exchange over doubling distances. Source: Thakur, Rabenseifner and Gropp,
/// IJHPCA 19 (2005) 49, section 4.
void MeshGroup::double_recursively(std::span<std::byte> data, ElementType type, ReduceOp op) {
    const int power = static_cast<int>(std::bit_floor(static_cast<unsigned>(size())));
    const int folded = size() - power;
    const bool folds = rank() < 2 * folded;
    if (folds && rank() % 2 == 1) {
        mesh_.send(rank() - 1, fold_step, data);
        copy_bytes(mesh_.receive(rank() - 1, unfold_step, data.size()), data);
        return;
    }
    if (folds) {
        combine(data, rank() + 1, mesh_.receive(rank() + 1, fold_step, data.size()), type, op);
    }
    const int place = folds ? rank() / 2 : rank() - folded;
    std::uint32_t step = fold_step;
    for (int distance = 1; distance < power; distance *= 2) {
        const int other = place ^ distance;
        const int partner = other < folded ? 2 * other : other + folded;
        ++step;
        mesh_.send(partner, step, data);
        combine(data, partner, mesh_.receive(partner, step, data.size()), type, op);
    }
    if (folds) {
        mesh_.send(rank() + 1, unfold_step, data);
    }
}

/// Sums travel as f32 and are rounded once; the results travel as they are.
void MeshGroup::ring_all_reduce_halves(std::span<std::byte> data, ElementType type, ReduceOp op) {
    const auto elements = data.size() / size_of(type);
    const auto float_blocks = even_blocks(elements, sizeof(float), size());
    const auto half_blocks = even_blocks(elements, size_of(type), size());
    Bytes floats(2 * data.size());
    widen(data, type, floats);
    const auto scatter = ring_reduce_scatter(float_blocks, rank(), whole_segment(sizeof(float)));
    mesh_.ring(scatter, floats, {ElementType::f32, op}, 0);
    const int own = (rank() + 1) % size();
    const auto& from = float_blocks[static_cast<std::size_t>(own)];
    const auto& to = half_blocks[static_cast<std::size_t>(own)];
    narrow(std::span{floats}.subspan(from.offset, from.bytes), type, data.subspan(to.offset, to.bytes));
    const auto gather = ring_all_gather(half_blocks, own, whole_segment(size_of(type)));
    mesh_.ring(gather, data, {}, gather_first_step);
}

Result<void> check(const GroupSpec& spec) {
    const auto wrong = [](std::string text, const char* where) {
        return Error{ErrorCode::invalid_argument, std::move(text), where};
    };
    if (spec.members.empty()) {
        return wrong("a group has at least one member", "members");
    }
    if (spec.rank < 0 || static_cast<std::size_t>(spec.rank) >= spec.members.size()) {
        return wrong(fmt::format("rank {} in a group of {}", spec.rank, spec.members.size()), "rank");
    }
    if (spec.segment_bytes < segment_bytes_min || spec.segment_bytes > bytes_max) {
        return wrong(fmt::format("{} is not within {} and {}", spec.segment_bytes, segment_bytes_min, bytes_max),
                     "segment_bytes");
    }
    if (spec.small_bytes_max > bytes_max) {
        return wrong(fmt::format("{} is above {}", spec.small_bytes_max, bytes_max), "small_bytes_max");
    }
    if (spec.operation_timeout <= Duration::zero()) {
        return wrong("must be positive", "operation_timeout");
    }
    return {};
}

} // namespace

Result<std::unique_ptr<Group>> Group::connect(GroupSpec spec, int listener, Dialer& dialer, Deadline deadline) {
    if (auto checked = check(spec); !checked) {
        return checked.error();
    }
    if (spec.members.size() == 1) {
        return std::unique_ptr<Group>{std::make_unique<SoloGroup>()};
    }
    auto counters = std::make_shared<WireCounters>();
    auto edges = join(spec, listener, dialer, *counters, deadline);
    if (!edges) {
        return Error{edges.error()}.within(fmt::format(
            "join generation {} of job {} as {}", spec.generation, spec.job, name_of(spec.members, spec.rank)));
    }
    auto group = std::make_unique<MeshGroup>(spec, std::move(edges).value(), std::move(counters));
    try {
        group->meet(deadline);
    } catch (const GroupFailed& failure) {
        return Error{ErrorCode::unavailable, failure.what()};
    }
    return std::unique_ptr<Group>{std::move(group)};
}

} // namespace muster::collective
