#include "worker/processor.h"

#include "worker/bf16_kernel.h"

namespace muster::worker {
namespace {

bool has_bf16() {
#if defined(__x86_64__)
    // What the compiler may use with the flags of bf16_kernel.cpp (CMakeLists.txt); knows of the operating system, too.
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512bf16");
#else
    return false;
#endif
}

} // namespace

Processor Processor::here() {
    return {.bf16 = bf16::is_compiled() && has_bf16()};
}

Result<void> check_processor(const Recipe& recipe, const Processor& processor) {
    if (recipe.number_type == NumberType::bf16 && !processor.bf16) {
        return Error{ErrorCode::invalid_argument,
                     "bf16 needs a processor with AVX512_BF16, which this function's is not; with number_type: fp32 in "
                     "the recipe it can train",
                     "/number_type"};
    }
    return {};
}

} // namespace muster::worker
