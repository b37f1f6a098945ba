#include "collective/direct.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <deque>
#include <vector>

namespace muster::collective {
namespace {

using Bytes = std::vector<std::byte>;

constexpr Step fold_step = 0;
constexpr Step unfold_step = 1000;
/// Large blocks are reduced in chunks, of which two are under way from each rank.
constexpr std::size_t chunk_bytes = 256U << 10U;
constexpr std::size_t chunks_ahead = 2;

void copy_bytes(std::span<const std::byte> from, std::span<std::byte> to) {
    if (!from.empty()) {
        std::memmove(to.data(), from.data(), from.size());
    }
}

Bytes in_work_format(std::span<const std::byte> data, const Reduction& reduction) {
    Bytes work(data.size() / reduction.element_bytes() * reduction.work_bytes());
    reduction.load(data, work);
    return work;
}

/// A message of one pair of ranks that is waited for at once.
Bytes receive_now(Channel& channel, int from, Step step, std::size_t bytes) {
    Bytes data(bytes);
    Receiving receiving;
    channel.receive(receiving, from, step, data);
    channel.wait(receiving, from);
    return data;
}

/// The lower rank's part is the left operand on both sides, so that both compute the same bits.
void combine_ordered(Bytes& work, int self, int partner, Bytes incoming, const Reduction& reduction) {
    if (partner > self) {
        reduction.combine(work, incoming);
    } else {
        reduction.combine(incoming, work);
        work = std::move(incoming);
    }
}

/// One block cut into chunks of whole elements.
class Chunks {
public:
    Chunks(std::size_t bytes, std::size_t element_bytes)
        : bytes_{bytes}, each_{std::max<std::size_t>(chunk_bytes / element_bytes, 1) * element_bytes} {}
    [[nodiscard]] std::size_t count() const { return (bytes_ + each_ - 1) / each_; }
    [[nodiscard]] Block at(std::size_t index) const { return {index * each_, std::min(each_, bytes_ - index * each_)}; }

private:
    std::size_t bytes_;
    std::size_t each_;
};

} // namespace

void exchange_and_reduce(Channel& channel, std::span<std::byte> data, const Reduction& reduction) {
    const int size = channel.size();
    const int rank = channel.rank();
    const Bytes own{data.begin(), data.end()}; // Others still read it when the result is written.
    std::vector<Bytes> blocks(static_cast<std::size_t>(size), Bytes(data.size()));
    std::deque<Receiving> receives(static_cast<std::size_t>(size));
    std::deque<Sending> sends(static_cast<std::size_t>(size));
    for (int i = 1; i < size; ++i) {
        const int peer = (rank + i) % size;
        channel.send(sends[static_cast<std::size_t>(peer)], peer, 0, own);
    }
    for (int peer = 0; peer < size; ++peer) {
        if (peer != rank) {
            const auto place = static_cast<std::size_t>(peer);
            channel.receive(receives[place], peer, 0, blocks[place]);
        }
    }
    Bytes result;
    for (int peer = 0; peer < size; ++peer) {
        const auto place = static_cast<std::size_t>(peer);
        channel.wait(receives[place], peer);
        auto work = in_work_format(peer == rank ? own : blocks[place], reduction);
        if (peer == 0) {
            result = std::move(work);
        } else {
            reduction.combine(result, work);
        }
    }
    reduction.store(result, data);
    for (int peer = 0; peer < size; ++peer) {
        channel.wait(sends[static_cast<std::size_t>(peer)], peer);
    }
}

/// Of the first 2 * (size - power) ranks the odd ones hand their part to the even one before them and get the result
/// back; the power-of-two many others exchange over doubling distances.
void double_and_reduce(Channel& channel, std::span<std::byte> data, const Reduction& reduction) {
    const int rank = channel.rank();
    const int power = static_cast<int>(std::bit_floor(static_cast<unsigned>(channel.size())));
    const int folded = channel.size() - power;
    const bool folds = rank < 2 * folded;
    auto work = in_work_format(data, reduction);
    const auto send_now = [&](int to, Step step) {
        Sending sending;
        channel.send(sending, to, step, work);
        channel.wait(sending, to);
    };
    if (folds && rank % 2 == 1) {
        send_now(rank - 1, fold_step);
        work = receive_now(channel, rank - 1, unfold_step, work.size());
        reduction.store(work, data);
        return;
    }
    if (folds) {
        combine_ordered(work, rank, rank + 1, receive_now(channel, rank + 1, fold_step, work.size()), reduction);
    }
    const int place = folds ? rank / 2 : rank - folded;
    Step step = fold_step;
    for (int distance = 1; distance < power; distance *= 2) {
        const int other = place ^ distance;
        const int partner = other < folded ? 2 * other : other + folded;
        ++step;
        Sending sending;
        channel.send(sending, partner, step, work);
        auto incoming = receive_now(channel, partner, step, work.size());
        channel.wait(sending, partner);
        combine_ordered(work, rank, partner, std::move(incoming), reduction);
    }
    if (folds) {
        send_now(rank + 1, unfold_step);
    }
    reduction.store(work, data);
}

void reduce_blocks(Channel& channel,
                   std::span<const std::byte> input,
                   std::span<const Block> blocks,
                   std::span<std::byte> output,
                   const Reduction& reduction) {
    const int size = channel.size();
    const int rank = channel.rank();
    const auto width = static_cast<std::size_t>(size);
    const auto block_of = [&](int peer) {
        const auto& block = blocks[static_cast<std::size_t>(peer)];
        return input.subspan(block.offset, block.bytes);
    };
    std::vector<std::deque<Sending>> sends(width);
    for (int i = 1; i < size; ++i) {
        const int peer = (rank + i) % size;
        auto& to_peer = sends[static_cast<std::size_t>(peer)];
        const auto block = block_of(peer);
        const Chunks chunks{block.size(), reduction.element_bytes()};
        for (std::size_t c = 0; c < chunks.count(); ++c) {
            const auto chunk = chunks.at(c);
            channel.send(to_peer.emplace_back(), peer, static_cast<Step>(c), block.subspan(chunk.offset, chunk.bytes));
        }
    }
    const auto own = block_of(rank);
    const Chunks chunks{own.size(), reduction.element_bytes()};
    std::vector<Bytes> slots(width * chunks_ahead);
    std::deque<Receiving> receives(width * chunks_ahead);
    const auto slot_of = [&](std::size_t c, int peer) {
        return c % chunks_ahead * width + static_cast<std::size_t>(peer);
    };
    const auto expect = [&](std::size_t c) {
        for (int peer = 0; c < chunks.count() && peer < size; ++peer) {
            if (peer != rank) {
                slots[slot_of(c, peer)].resize(chunks.at(c).bytes);
                channel.receive(receives[slot_of(c, peer)], peer, static_cast<Step>(c), slots[slot_of(c, peer)]);
            }
        }
    };
    for (std::size_t c = 0; c < chunks_ahead; ++c) {
        expect(c);
    }
    for (std::size_t c = 0; c < chunks.count(); ++c) {
        const auto chunk = chunks.at(c);
        Bytes result;
        for (int peer = 0; peer < size; ++peer) {
            channel.wait(receives[slot_of(c, peer)], peer);
            auto work = in_work_format(peer == rank ? own.subspan(chunk.offset, chunk.bytes)
                                                    : std::span<const std::byte>{slots[slot_of(c, peer)]},
                                       reduction);
            if (peer == 0) {
                result = std::move(work);
            } else {
                reduction.combine(result, work);
            }
        }
        reduction.store(result, output.subspan(chunk.offset, chunk.bytes));
        expect(c + chunks_ahead);
    }
    for (int peer = 0; peer < size; ++peer) {
        for (const auto& sending : sends[static_cast<std::size_t>(peer)]) {
            channel.wait(sending, peer);
        }
    }
}

void reduce_along_chain(Channel& channel, std::span<std::byte> data, const Reduction& reduction, int root) {
    const int size = channel.size();
    const int rank = channel.rank();
    const bool first = rank == (root + 1) % size;
    const Chunks chunks{data.size(), reduction.element_bytes()};
    const auto work_bytes_of = [&](std::size_t c) {
        return chunks.at(c).bytes / reduction.element_bytes() * reduction.work_bytes();
    };
    constexpr std::size_t slots_max = 2 * chunks_ahead;
    std::vector<Bytes> slots(slots_max);
    std::deque<Receiving> receives(slots_max);
    std::deque<Sending> sends(slots_max);
    const auto expect = [&](std::size_t c) {
        if (!first && c < chunks.count()) {
            auto& slot = slots[c % slots_max];
            channel.wait(sends[c % slots_max], channel.next());
            slot.resize(work_bytes_of(c));
            channel.receive(receives[c % slots_max], channel.previous(), static_cast<Step>(c), slot);
        }
    };
    for (std::size_t c = 0; c < chunks_ahead; ++c) {
        expect(c);
    }
    for (std::size_t c = 0; c < chunks.count(); ++c) {
        const auto chunk = chunks.at(c);
        const auto part = data.subspan(chunk.offset, chunk.bytes);
        auto& slot = slots[c % slots_max];
        if (first) {
            channel.wait(sends[c % slots_max], channel.next());
            slot = in_work_format(part, reduction);
        } else {
            channel.wait(receives[c % slots_max], channel.previous());
            reduction.combine(slot, in_work_format(part, reduction));
        }
        if (rank == root) {
            reduction.store(slot, part);
        } else {
            channel.send(sends[c % slots_max], channel.next(), static_cast<Step>(c), slot);
        }
        expect(c + chunks_ahead);
    }
    for (auto& sending : sends) {
        channel.wait(sending, channel.next());
    }
}

void exchange_blocks(Channel& channel,
                     std::span<const std::span<const std::byte>> send,
                     std::span<const std::span<std::byte>> receive,
                     EmptyBlocks empty_blocks) {
    const bool all = empty_blocks == EmptyBlocks::travel;
    const int size = channel.size();
    const int rank = channel.rank();
    std::deque<Receiving> receives(static_cast<std::size_t>(size));
    std::deque<Sending> sends(static_cast<std::size_t>(size));
    for (int i = 1; i < size; ++i) {
        const int from = (rank + size - i) % size;
        const auto place = static_cast<std::size_t>(from);
        if (all || !receive[place].empty()) {
            channel.receive(receives[place], from, 0, receive[place]);
        }
    }
    for (int i = 1; i < size; ++i) {
        const int to = (rank + i) % size;
        const auto place = static_cast<std::size_t>(to);
        if (all || !send[place].empty()) {
            channel.send(sends[place], to, 0, send[place]);
        }
    }
    copy_bytes(send[static_cast<std::size_t>(rank)], receive[static_cast<std::size_t>(rank)]);
    for (int i = 1; i < size; ++i) {
        const int from = (rank + size - i) % size;
        channel.wait(receives[static_cast<std::size_t>(from)], from);
    }
    for (int i = 1; i < size; ++i) {
        const int to = (rank + i) % size;
        channel.wait(sends[static_cast<std::size_t>(to)], to);
    }
}

} // namespace muster::collective
