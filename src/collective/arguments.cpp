#include "collective/arguments.h"

#include "collective/element.h"

#include <fmt/format.h>

#include <numeric>

namespace muster::collective {

void check_all_reduce(std::span<const std::byte> data, ElementType type) {
    if (size_of(type) == 0 || data.size() % size_of(type) != 0) {
        throw std::invalid_argument{
            fmt::format("all_reduce of {} bytes, which are no whole elements of {}", data.size(), name_of(type))};
    }
}

void check_root(int root, int size) {
    if (root < 0 || root >= size) {
        throw std::invalid_argument{fmt::format("broadcast from rank {} in a group of {}", root, size)};
    }
}

void check_all_gather(std::span<const std::byte> input,
                      std::span<const std::byte> output,
                      std::span<const std::size_t> lengths,
                      int rank,
                      int size) {
    if (lengths.size() != static_cast<std::size_t>(size)) {
        throw std::invalid_argument{fmt::format("all_gather with {} lengths for {} ranks", lengths.size(), size)};
    }
    const auto total = std::accumulate(lengths.begin(), lengths.end(), std::size_t{0});
    if (output.size() != total || input.size() != lengths[static_cast<std::size_t>(rank)]) {
        throw std::invalid_argument{fmt::format("all_gather of {} bytes into {} bytes, where the lengths say {} and {}",
                                                input.size(),
                                                output.size(),
                                                lengths[static_cast<std::size_t>(rank)],
                                                total)};
    }
}

} // namespace muster::collective
