#include "shipping/outgoing.h"

#include "shipping/talk.h"

#include <fmt/format.h>

#include <algorithm>

namespace muster::shipping {

Duration SharedPace::take(std::int64_t bytes) {
    const std::scoped_lock lock{mutex_};
    return bucket_.take(bytes);
}

Outgoing::Outgoing(collective::Group& group, int to, std::span<const Cargo> cargo, SharedPace& pace)
    : group_{&group}, cargo_{cargo}, pace_{&pace} {
    receipt_ = {.from = group.rank(), .to = to};
    for (const Cargo& part : cargo) {
        receipt_.bytes += std::ssize(part.bytes);
    }
}

Result<Receipt> Outgoing::run(std::int64_t block_bytes_max, std::size_t pending_max) {
    const SteadyTime began = pace_->now();
    const auto block_bytes = begin(block_bytes_max);
    if (!block_bytes) {
        return block_bytes.error();
    }
    while (sent_ < receipt_.bytes) {
        const std::int64_t size = std::min(*block_bytes, receipt_.bytes - sent_);
        if (const Duration wait = pace_->take(size); wait > Duration::zero()) {
            finish_all_but(0); // Nothing moves while this thread sleeps.
            pace_->sleep(wait);
        }
        finish_all_but(pending_max - 1);
        send(size);
    }
    finish_all_but(0);
    if (auto verified = hear_verdict(); !verified) {
        return std::move(verified).error();
    }
    receipt_.seconds = std::chrono::duration<double>(pace_->now() - began).count();
    return receipt_;
}

/// Returns the bytes of a block.
Result<std::int64_t> Outgoing::begin(std::int64_t block_bytes_max) {
    const auto demand = take<Demand>(*group_, receipt_.to);
    const std::int64_t block_bytes = std::min(block_bytes_max, demand.block_bytes_max);
    tell(*group_, receipt_.to, Offer{talk_version, receipt_.bytes, block_bytes});
    if (demand.version != talk_version || demand.bytes != receipt_.bytes || block_bytes < 1) {
        return Error{.code = ErrorCode::conflict,
                     .message = fmt::format("rank {} expects {} bytes in blocks of {} at most, here they are {}",
                                            receipt_.to,
                                            demand.bytes,
                                            demand.block_bytes_max,
                                            receipt_.bytes)};
    }
    receipt_.resumed_from = std::clamp<std::int64_t>(demand.arrived, 0, receipt_.bytes);
    sent_ = receipt_.resumed_from;
    return block_bytes;
}

/// Waits until no more than `most` blocks are on their way.
void Outgoing::finish_all_but(std::size_t most) {
    for (; pending_.size() > most; pending_.pop_front()) {
        pending_.front().transfer->wait();
    }
}

void Outgoing::send(std::int64_t size) {
    auto& block = pending_.emplace_back();
    auto bytes = view(sent_, size);
    if (std::ssize(bytes) < size) { // It goes over the end of a part.
        block.copy = gathered(size);
        bytes = block.copy;
    }
    block.transfer = group_->send(bytes, receipt_.to, block_tag);
    sent_ += size;
}

Result<void> Outgoing::hear_verdict() {
    const auto verdict = take<Verdict>(*group_, receipt_.to);
    receipt_.digest.assign(verdict.digest.begin(), std::ranges::find(verdict.digest, '\0'));
    switch (verdict.outcome) {
    case Outcome::verified:
        return {};
    case Outcome::other_digest:
        return Error{.code = ErrorCode::conflict,
                     .message = fmt::format(
                         "rank {} did not find the digest that was agreed, {}", receipt_.to, receipt_.digest)};
    case Outcome::no_room:
        return Error{.code = ErrorCode::resource_exhausted,
                     .message = fmt::format("rank {} has no room for what is shipped", receipt_.to)};
    case Outcome::not_written:
        break;
    }
    return Error{.code = ErrorCode::unavailable,
                 .message = fmt::format("rank {} could not write what is shipped", receipt_.to)};
}

/// The bytes from `at` on, at most `size` and of one part.
std::span<const std::byte> Outgoing::view(std::int64_t at, std::int64_t size) const {
    for (const Cargo& part : cargo_) {
        if (at < std::ssize(part.bytes)) {
            const auto left = part.bytes.subspan(static_cast<std::size_t>(at));
            return left.first(std::min(left.size(), static_cast<std::size_t>(size)));
        }
        at -= std::ssize(part.bytes);
    }
    return {};
}

std::vector<std::byte> Outgoing::gathered(std::int64_t size) const {
    std::vector<std::byte> copy;
    while (std::ssize(copy) < size) {
        const auto piece = view(sent_ + std::ssize(copy), size - std::ssize(copy));
        copy.insert(copy.end(), piece.begin(), piece.end());
    }
    return copy;
}

} // namespace muster::shipping
