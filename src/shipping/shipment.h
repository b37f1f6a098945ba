/// Sends what one rank holds to ranks that do not: over the group's connections, in blocks, no faster than its holder
/// allows, from where the last attempt ended.
#pragma once

#include "collective/group.h"
#include "shipping/landing.h"
#include "shipping/pace.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace muster::shipping {

/// What the holder sends, in the order of the receiver's LandingParts.
struct Cargo {
    std::string name;
    std::span<const std::byte> bytes;
};

struct ShipmentSettings {
    std::int64_t block_bytes_max{256 << 10}; ///< of one message; what a cut loses is at most blocks_pending of them
    std::size_t blocks_pending{16};          ///< blocks on their way to one receiver
    std::int64_t bytes_per_second_max{0};    ///< of all receivers together; 0: as fast as it goes
    /// With a limit, blocks are so small that each receiver gets one about so often: a group takes silence for failure.
    Duration block_interval_max{std::chrono::seconds{1}};
    /// How often those who wait for others' shipments hear that they go on.
    Duration sign_interval{std::chrono::seconds{2}};
    /// Called by receive() with each block that was written.
    std::function<void(const Landing&)> on_arrival{};
};

/// What one rank sent to another, as both of them know it.
struct Receipt {
    int from{};
    int to{};
    std::int64_t bytes{};        ///< of the whole
    std::int64_t resumed_from{}; ///< how many of them were there before
    std::string digest{};        ///< of the whole, as the receiver verified it
    double seconds{};
};

/// Sends `cargo` to each of `receivers`, which call receive() with as many bytes, and lets each of `bystanders`, which
/// call stand_by(), know how it goes: they would otherwise wait in their next collective for longer than a group waits.
/// Blocks go to the receivers in turn. Returns when all have verified what they have, with a receipt each. The three
/// functions are one operation of the group: every rank calls one of them.
/// Errors: conflict, naming the receiver that found other bytes than were agreed, or expected another number of them;
/// resource_exhausted or unavailable, naming the one that could not keep them. The other receivers are served all the
/// same. Throws collective::GroupFailed; what has arrived by then, the receivers keep.
[[nodiscard]] Result<std::vector<Receipt>> ship(collective::Group& group,
                                                std::span<const Cargo> cargo,
                                                std::span<const int> receivers,
                                                std::span<const int> bystanders,
                                                const ShipmentSettings& settings,
                                                const Pace& pace);

/// Takes from rank `from` what `landing` does not have yet, verifies the whole, tells the sender, and stands by until
/// the others have theirs.
/// Errors: conflict, naming the sender, when the digest is another or it has another number of bytes; those of
/// Landing::append; unavailable, when another one's shipment was refused. Throws collective::GroupFailed; `landing`
/// then keeps what has arrived, for the next group.
[[nodiscard]] Result<Receipt>
receive(collective::Group& group, int from, Landing& landing, const ShipmentSettings& settings, const Pace& pace);

/// Waits until rank `from` has shipped. Errors: unavailable, when a shipment was refused. Throws
/// collective::GroupFailed.
[[nodiscard]] Result<void> stand_by(collective::Group& group, int from);

} // namespace muster::shipping
