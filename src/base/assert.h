/// MUSTER_ASSERT: what must be true, or the program has a bug and stops.
#pragma once

namespace muster {

/// Prints what was expected and where, and aborts.
[[noreturn]] void assertion_failed(const char* expression, const char* file, int line) noexcept;

} // namespace muster

#define MUSTER_ASSERT(expression)                                                                                      \
    do {                                                                                                               \
        if (!(expression)) {                                                                                           \
            ::muster::assertion_failed(#expression, __FILE__, __LINE__);                                               \
        }                                                                                                              \
    } while (false)
