/// KnownValues: what values of a graph are known before it runs.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include <optional>
#include <unordered_map>
#include <vector>

namespace muster::worker {

/// A value, where it is known.
using Known = std::optional<c10::IValue>;

/// Constants, modules with their attributes, and comparisons of these, within one call of one function. Numbers and
/// texts only: nothing of it takes time or memory. One thread.
class KnownValues {
public:
    void set(const torch::jit::Value* value, const Known& known);
    [[nodiscard]] Known of(const torch::jit::Value* value) const;
    [[nodiscard]] std::vector<Known> of(at::ArrayRef<const torch::jit::Value*> values) const;
    [[nodiscard]] std::vector<Known> of(at::ArrayRef<torch::jit::Value*> values) const;
    /// Sets the output of a node whose inputs are known enough.
    void evaluate(const torch::jit::Node& node);

private:
    [[nodiscard]] Known result_of(const torch::jit::Node& node) const;
    std::unordered_map<const torch::jit::Value*, c10::IValue> values_;
};

/// The function that a call node calls; null: that is known only when it runs.
[[nodiscard]] const torch::jit::Function* called(const torch::jit::Node& node);

} // namespace muster::worker
