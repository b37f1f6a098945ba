/// The operators that a program of a user may be made of. A table; what it is used for: program_check.h.
#pragma once

#include <span>
#include <string_view>

namespace muster::worker {

/// Where an operator may stand.
enum class OperatorUse {
    run,     ///< anywhere
    present, ///< in functions or branches that a training does not come to: PyTorch's own modules have such
};

/// A row of the table.
struct AllowedOperator {
    std::string_view name; ///< kind and overload, as "aten::add.Tensor"
    OperatorUse use{OperatorUse::run};
    int dropout_at{-1}; ///< the input that says how much is dropped, which has to be 0; -1: it drops nothing
};

/// All of them, sorted by name.
[[nodiscard]] std::span<const AllowedOperator> allowed_operators();

/// The row of an operator; null: it is not allowed.
[[nodiscard]] const AllowedOperator* find_operator(std::string_view name);

} // namespace muster::worker
