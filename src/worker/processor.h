/// What this machine's processor can do that number types ask for.
#pragma once

#include "base/result.h"
#include "model/recipe.h"

namespace muster::worker {

struct Processor {
    bool bf16{}; ///< products of bf16 with sums in fp32 (AVX512_BF16), which this build can use

    /// The one that this process runs on. Reads no file, so it may be asked in the box.
    [[nodiscard]] static Processor here();
};

/// Checks that a recipe's number type can be computed. Errors: invalid_argument at /number_type, which says what is
/// missing and what to write.
[[nodiscard]] Result<void> check_processor(const Recipe& recipe, const Processor& processor);

} // namespace muster::worker
