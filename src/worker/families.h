/// The model families as TorchScript modules of ours, with their first weights. For program.cpp alone.
#pragma once

#include "model/preprocessing.h"
#include "model/recipe.h"
#include "model/stage.h"

#include <torch/csrc/jit/api/module.h>

#include <cstdint>
#include <string>
#include <vector>

namespace muster::worker {

/// Whether a module is built to be trained, or only to be looked at and used: without memory for its weights, and
/// without operators of ours but for dropout, which build_for_use() turns off.
enum class Weights { drawn, absent };

/// Builds the family of a checked recipe, or the blocks of `stage` of it.
///   mlp          linear layers with relu between; weights uniform in +-1/sqrt(inputs), as torch.nn.Linear draws them
///   gru          layers of gated recurrent units over the rows of a window, oldest first, then a linear layer over the
///                last hidden state and, past the recurrence, the newest row; weights as torch.nn.GRU draws them, that
///                of the newest row starts at 0
///   transformer  a decoder that predicts the next token (GPT-2's arrangement): `layers` holds an embedding of tokens
///                and positions, blocks of causal attention and a perceptron of four widths with gelu, each behind a
///                layer norm and added to what it got, and a head; weights normal with deviation 0.02, those that end
///                a residual branch divided by sqrt(2 x blocks), biases 0
/// Weights are drawn in fp64 and rounded, so that fp32 and fp64 start alike; each block of a chain draws from a
/// generator of its own, so that whoever holds a part of a model starts as the whole would. Blocks keep their names,
/// which are their positions in the whole.
[[nodiscard]] torch::jit::Module
build_family(const Recipe& recipe, const Preprocessing& preprocessing, Weights weights, const ModelStage& stage = {});

/// The whole model as it is used when it is trained: without dropout, and without memory for its weights.
[[nodiscard]] torch::jit::Module build_for_use(const Recipe& recipe, const Preprocessing& preprocessing);

/// Puts a tensor in the place of the parameter that is called "layers.3.up_weight".
void set_parameter(const torch::jit::Module& root, const std::string& name, const at::Tensor& values);

/// One family each; `outputs` of Preprocessing.
[[nodiscard]] torch::jit::Module
build_mlp(const Recipe& recipe, std::int64_t columns, std::int64_t outputs, Weights weights);
[[nodiscard]] torch::jit::Module
build_gru(const Recipe& recipe, std::int64_t columns, std::int64_t outputs, Weights weights);
[[nodiscard]] torch::jit::Module
build_transformer(const Recipe& recipe, std::int64_t vocabulary, Weights weights, const ModelStage& stage);

/// Sizes of what a block of a chain gives for each row, known without building it.
[[nodiscard]] std::vector<std::int64_t>
block_output_sizes(const Recipe& recipe, const Preprocessing& preprocessing, std::int64_t position);

/// The type of weights, gradients and all that passes between layers: of bf16, which is for products, fp32.
[[nodiscard]] at::ScalarType scalar_type(const Recipe& recipe);

} // namespace muster::worker
