/// The archive of a trained model: a TorchScript module with its preprocessing inside (api/model.md).
#pragma once

#include "model/preprocessing.h"
#include "model/recipe.h"

#include <torch/csrc/jit/api/module.h>

#include <cstddef>
#include <functional>

namespace muster::worker {

/// Writes the archive of `body`, which maps encoded rows to outputs, to `fd` from its current position. Its parameters
/// become part of the archive as they are: they should not record for backward, archives are for use, not for training.
///   forward(numbers [rows, number inputs], NaN = missing; categories: one list of texts for each row, "" = missing)
///   returns float64 [rows, outputs]: target unit, or probabilities
/// Of a forecast the rows are consecutive ones of one series, oldest first, and there is an output for each that ends a
/// window: [rows - window + 1, outputs].
/// Of a language model: forward(tokens int64 [rows, at most sequence]) returns float64 [rows, tokens, vocabulary], the
/// logarithm of the probability of each next token.
/// `written`, where given, is told of each piece of memory that has been written and is not looked at again.
/// Throws std::system_error when writing fails.
void write_archive(const torch::jit::Module& body,
                   const Recipe& recipe,
                   const Preprocessing& preprocessing,
                   int fd,
                   const std::function<void(const void*, std::size_t)>& written = {});

/// Returns a module that makes of raw rows what boosted trees read: forward() takes what that of an archive takes and
/// returns float64 [samples, columns of a sample], NaN where something is missing, the rows of a window oldest first.
[[nodiscard]] torch::jit::Module tree_inputs_module(const Recipe& recipe, const Preprocessing& preprocessing);

} // namespace muster::worker
