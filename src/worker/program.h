/// ModelProgram: the model that is trained. Only program.cpp, families.h, the archive's files, exported_model.cpp and
/// what user_model.h is made of know TorchScript, which is deprecated upstream.
#pragma once

#include "base/result.h"
#include "model/preprocessing.h"
#include "model/recipe.h"
#include "model/stage.h"
#include "worker/processor.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace muster::worker {

class UserModel;

/// Prepares the calling thread for models: no TorchScript graph optimisation (a warm-up spike without gain), `threads`
/// intra-op threads, one inter-op thread. Call it in each thread that builds or runs a program.
/// Thread counts change the last bits of large sums, so they are always set and never guessed.
void prepare_thread(int threads);

/// A trained tensor as it is called in the whole model, and its shape.
struct ParameterShape {
    std::string name; ///< e.g. "layers.3.up_weight"
    std::vector<std::int64_t> sizes;

    [[nodiscard]] std::int64_t elements() const;
};

/// The trained tensors of a model, or of one stage of it, in their order, without building it: no memory for weights.
/// Errors: those of ModelProgram::build, on `processor`.
[[nodiscard]] Result<std::vector<ParameterShape>> parameter_shapes(const Recipe& recipe,
                                                                   const Preprocessing& preprocessing,
                                                                   const ModelStage& stage = {},
                                                                   const UserModel* user_model = nullptr,
                                                                   const Processor& processor = Processor::here());

/// Scalars of all these.
[[nodiscard]] std::int64_t elements_of(const std::vector<ParameterShape>& shapes);

/// Bytes of a number of the recipe's type.
[[nodiscard]] std::int64_t number_bytes(const Recipe& recipe);

/// A model that maps encoded rows to outputs, or one stage of it. One thread at a time.
class ModelProgram {
public:
    /// Builds the family of `recipe` for the width and outputs of `preprocessing`, with weights drawn from
    /// recipe.seed by generators of its own (families.h); of a chain only the blocks of `stage`, which never take
    /// memory elsewhere. Of a recipe with an archive `user_model` is the model, and outlives this.
    /// It computes on `device`, where its weights are; they are drawn on the processor, and equal everywhere.
    /// Errors: invalid_argument, when recipe, target and each other do not fit, the model has no such blocks, or
    /// the device lacks what the number type needs.
    [[nodiscard]] static Result<ModelProgram> build(const Recipe& recipe,
                                                    const Preprocessing& preprocessing,
                                                    const ModelStage& stage = {},
                                                    const UserModel* user_model = nullptr,
                                                    at::Device device = at::kCPU);
    ~ModelProgram();
    ModelProgram(ModelProgram&&) noexcept;
    ModelProgram& operator=(ModelProgram&&) noexcept;

    /// Computes outputs: `rows` [n, encoded columns] in the recipe's number type, returns [n, outputs]. Regression:
    /// standardised; classification: logits. Of a language model `rows` is int64 [n, tokens], at most the recipe's
    /// sequence, and what comes back are the logits of each next token [n, tokens, outputs]. A stage takes what the
    /// block before it gave, and gives what the one behind it takes.
    /// Records for backward unless grad mode is off.
    [[nodiscard]] at::Tensor forward(const at::Tensor& rows);
    /// Turns what forward() returned into what a consumer sees, float64 of the same shape: target units or
    /// probabilities.
    [[nodiscard]] at::Tensor finish(const at::Tensor& outputs) const;

    /// Where it computes: inputs of forward() are there.
    [[nodiscard]] at::Device device() const;
    /// Trained tensors in a fixed order; they share memory with the model.
    [[nodiscard]] const std::vector<at::Tensor>& parameters() const;
    [[nodiscard]] std::int64_t parameter_count() const;
    [[nodiscard]] std::int64_t parameter_bytes() const;
    /// SHA-256 over the raw bytes of all parameters in order, hex.
    [[nodiscard]] std::string parameters_digest() const;

    /// Writes, of a whole model, the archive that plain torch.jit.load runs on raw rows (api/model.md): preprocessing,
    /// the model and its finish in one module. `fd` is written from its current position and stays the caller's. Throws
    /// std::system_error when writing fails.
    void export_archive(int fd) const;
    /// The same into a file. Throws std::system_error.
    void export_archive(const std::filesystem::path& path) const;

private:
    struct State;
    explicit ModelProgram(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

} // namespace muster::worker
