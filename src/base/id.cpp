#include "base/id.h"

#include "base/assert.h"
#include "base/digest.h"

#include <sys/random.h>

#include <vector>

namespace muster {

std::string random_hex(std::size_t bytes) {
    std::vector<std::byte> random(bytes);
    const ssize_t got = getrandom(random.data(), random.size(), 0);
    MUSTER_ASSERT(got == static_cast<ssize_t>(bytes));
    return to_hex(random);
}

} // namespace muster
