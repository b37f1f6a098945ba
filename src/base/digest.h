/// SHA-256 and hexadecimal, for names by content and digests of plans.
#pragma once

#include "base/result.h"

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace muster {

/// A running SHA-256. One thread at a time.
class Sha256 {
public:
    Sha256();
    ~Sha256();
    Sha256(Sha256&&) noexcept;
    Sha256& operator=(Sha256&&) noexcept;

    void update(std::span<const std::byte> bytes);
    void update(std::string_view text);
    /// Returns the digest as 64 lower-case hexadecimal digits. Call once.
    [[nodiscard]] std::string finish_hex();

private:
    struct State;
    std::unique_ptr<State> state_;
};

/// Returns the SHA-256 of `text` as 64 lower-case hexadecimal digits.
[[nodiscard]] std::string sha256_hex(std::string_view text);
/// Returns the SHA-256 of a file's content. Errors: not_found, when it cannot be read.
[[nodiscard]] Result<std::string> sha256_file(const std::filesystem::path& path);
/// Returns lower-case hexadecimal digits, two for each byte.
[[nodiscard]] std::string to_hex(std::span<const std::byte> bytes);
/// Returns standard base64 with padding.
[[nodiscard]] std::string to_base64(std::string_view bytes);
/// Errors: invalid_argument, when `text` is not standard base64 with padding.
[[nodiscard]] Result<std::string> from_base64(std::string_view text);

} // namespace muster
