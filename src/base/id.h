/// Random identifiers and secrets from the kernel's generator.
#pragma once

#include <cstddef>
#include <string>

namespace muster {

/// Returns `bytes` random bytes as lower-case hexadecimal digits. Safe from any thread.
[[nodiscard]] std::string random_hex(std::size_t bytes);

/// A text that must not reach a log or a response: it prints as "***".
class Secret {
public:
    Secret() = default;
    explicit Secret(std::string text) : text_{std::move(text)} {}
    /// The secret itself; the name is a reminder to look where it goes.
    [[nodiscard]] const std::string& reveal() const { return text_; }
    [[nodiscard]] bool empty() const { return text_.empty(); }

private:
    std::string text_;
};

/// What a Secret looks like to anybody who prints it.
[[nodiscard]] inline std::string to_string(const Secret& /*secret*/) {
    return "***";
}

} // namespace muster
