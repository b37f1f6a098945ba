/// What the arguments of a collective must satisfy, whatever the group. They throw std::invalid_argument.
#pragma once

#include "collective/group.h"

#include <cstddef>
#include <span>

namespace muster::collective {

void check_all_reduce(std::span<const std::byte> data, ElementType type);
void check_root(int root, int size);
void check_all_gather(std::span<const std::byte> input,
                      std::span<const std::byte> output,
                      std::span<const std::size_t> lengths,
                      int rank,
                      int size);

} // namespace muster::collective
