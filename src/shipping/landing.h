/// Where shipped bytes arrive: files without a name, hashed while they are written.
#pragma once

#include "base/digest.h"
#include "base/fd.h"
#include "base/result.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace muster::shipping {

/// A part of what is shipped, e.g. "train.features", and the file it becomes.
struct LandingPart {
    std::string name;
    std::int64_t bytes{};
    UniqueFd file; ///< readable and writable
};

/// Returns what names the whole, made of the parts' SHA-256 (hex) in their order.
using Combine = std::function<std::string(const std::vector<std::string>&)>;

/// The receiver's end of a shipment. How much has arrived is the length of the files, so another process that has them
/// goes on where this one ended. One thread at a time.
class Landing {
public:
    /// `digest`: what `combine` must return in the end. Reads what the files hold already.
    /// Errors: invalid_argument, when a part has a negative size, or together they have too many bytes to count;
    /// unavailable, when a file cannot be read.
    [[nodiscard]] static Result<Landing> over(std::vector<LandingPart> parts, std::string digest, Combine combine);

    [[nodiscard]] std::int64_t bytes() const { return bytes_; }
    /// How many have arrived, always the first ones.
    [[nodiscard]] std::int64_t arrived() const { return arrived_; }
    /// True when all have arrived and have the digest.
    [[nodiscard]] bool verified() const { return verified_; }
    [[nodiscard]] const std::string& digest() const { return digest_; }
    /// The files, with all bytes once verified() is true.
    [[nodiscard]] const std::vector<LandingPart>& parts() const { return parts_; }

    /// Writes what comes next. REQUIRES: no more than bytes() - arrived().
    /// Errors: resource_exhausted (disk full), unavailable, both naming the part; the bytes before it count.
    [[nodiscard]] Result<void> append(std::span<const std::byte> bytes);
    /// Compares the digest, once all has arrived. Errors: conflict, with both digests, when they differ: then nothing
    /// counts as arrived, as nobody knows which bytes are wrong. REQUIRES: arrived() == bytes().
    [[nodiscard]] Result<void> verify();

private:
    Landing(std::vector<LandingPart> parts, std::string digest, Combine combine, std::int64_t bytes);
    Result<void> take_what_is_there();
    Result<void> restart();

    std::vector<LandingPart> parts_;
    std::vector<Sha256> hashes_;
    std::string digest_;
    Combine combine_;
    std::int64_t bytes_;
    std::int64_t arrived_{0};
    bool verified_{false};
};

} // namespace muster::shipping
