/// Little-endian packing and bounds-checked unpacking of the messages between ranks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace muster::collective {

/// Appends integers and short texts to a buffer.
class ByteWriter {
public:
    template <typename Integer>
    void put(Integer value) {
        static_assert(std::is_integral_v<Integer>);
        auto bits = static_cast<std::make_unsigned_t<Integer>>(value);
        for (std::size_t i = 0; i < sizeof(Integer); ++i) {
            bytes_.push_back(static_cast<std::byte>(static_cast<std::uint64_t>(bits) >> (8 * i) & 0xffU));
        }
    }
    /// A 16-bit length and the text, cut at 65535 bytes.
    void put_text(std::string_view text) {
        text = text.substr(0, UINT16_MAX);
        put(static_cast<std::uint16_t>(text.size()));
        const auto* first = reinterpret_cast<const std::byte*>(text.data());
        bytes_.insert(bytes_.end(), first, first + text.size());
    }
    [[nodiscard]] std::vector<std::byte> take() && { return std::move(bytes_); }

private:
    std::vector<std::byte> bytes_;
};

/// Reads what ByteWriter wrote. After the first read past the end everything is zero or empty and ok() is false.
class ByteReader {
public:
    explicit ByteReader(std::span<const std::byte> bytes) : bytes_{bytes} {}

    template <typename Integer>
    [[nodiscard]] Integer get() {
        static_assert(std::is_integral_v<Integer>);
        std::uint64_t bits = 0;
        const auto part = cut(sizeof(Integer));
        for (std::size_t i = 0; i < part.size(); ++i) {
            bits |= std::to_integer<std::uint64_t>(part[i]) << (8 * i);
        }
        return static_cast<Integer>(static_cast<std::make_unsigned_t<Integer>>(bits));
    }
    [[nodiscard]] std::string get_text() {
        const auto part = cut(get<std::uint16_t>());
        return {reinterpret_cast<const char*>(part.data()), part.size()};
    }
    [[nodiscard]] bool ok() const { return ok_; }
    /// True when everything was read and nothing is left.
    [[nodiscard]] bool complete() const { return ok_ && bytes_.empty(); }

private:
    std::span<const std::byte> cut(std::size_t count) {
        if (count > bytes_.size()) {
            ok_ = false;
            bytes_ = {};
            return {};
        }
        const auto part = bytes_.first(count);
        bytes_ = bytes_.subspan(count);
        return part;
    }

    std::span<const std::byte> bytes_;
    bool ok_{true};
};

} // namespace muster::collective
