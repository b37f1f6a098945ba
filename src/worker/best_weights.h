/// BestWeights: the weights of the best epoch so far, for early stopping.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace muster::worker {

/// Keeps a copy of a model's weights, in a file where one is given: then a plan need not count it as memory.
/// One thread.
class BestWeights {
public:
    /// `file` is readable and writable, and is overwritten; -1: the copy is kept in memory.
    explicit BestWeights(int file) : file_{file} {}

    /// Takes a copy in place of the one before. Throws std::system_error when it cannot be written.
    void keep(const std::vector<at::Tensor>& weights);
    /// Puts the copy back; `weights` have the shapes and dtypes of those that were kept. Throws std::system_error when
    /// it cannot be read.
    void restore(const std::vector<at::Tensor>& weights);

private:
    int file_;
    std::vector<at::Tensor> copies_; ///< without a file
};

} // namespace muster::worker
