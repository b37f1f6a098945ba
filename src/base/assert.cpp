#include "base/assert.h"

#include <cstdio>
#include <cstdlib>

namespace muster {

void assertion_failed(const char* expression, const char* file, int line) noexcept {
    std::fprintf(stderr, "muster: bug: expected %s at %s:%d\n", expression, file, line);
    std::abort();
}

} // namespace muster
