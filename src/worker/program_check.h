/// What a program of a user consists of, found out without running it.
#pragma once

#include "worker/untrusted_archive.h"

#include <torch/csrc/jit/api/module.h>

#include <cstdint>
#include <string>
#include <vector>

namespace muster::worker {

/// What the check has found.
struct ProgramFacts {
    std::vector<std::string> problems{};      ///< sentences, each once; empty: the program may run
    std::vector<std::string> operators{};     ///< all in the archive, sorted
    std::vector<torch::jit::Module> layers{}; ///< of a chain, in order; empty: it is none
    std::string no_chain{};                   ///< why it is none; empty, when it is one
};

/// Checks every function of the archive against the table of operators, then what forward() of the root comes to,
/// with the constants and the modules it has, so that a branch that is never taken does not count. Refuses in addition
/// what would make the result depend on more than one row, on chance or on the order of steps: dropout, BatchNorm,
/// changes in place, attributes that are set. Runs nothing.
///
/// The model is a chain when its attribute `layers` is a ModuleList or Sequential, its forward() passes the input
/// through all of them in order and does nothing else, and each has parameters.
[[nodiscard]] ProgramFacts check_program(const UntrustedArchive& archive);

} // namespace muster::worker
