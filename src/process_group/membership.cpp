#include "process_group/membership.h"

#include <fmt/format.h>

namespace muster::process_group {

std::string Membership::name_of(int of_rank) const {
    const bool known = of_rank >= 0 && of_rank < size();
    return fmt::format("rank {} ({})", of_rank, known ? identities[static_cast<std::size_t>(of_rank)] : "unknown");
}

} // namespace muster::process_group
