/// UserModel: a program of a user, checked, as the model of a job. What users are told: api/user-models.md.
#pragma once

#include "base/result.h"
#include "model/preprocessing.h"
#include "model/recipe.h"
#include "model/stage.h"
#include "worker/families.h"
#include "worker/run_watch.h"

#include <ATen/core/Tensor.h>
#include <torch/csrc/jit/api/module.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace muster::worker {

/// What an archive holds.
struct UserModelFacts {
    std::int64_t parameters{};
    std::int64_t bytes{};    ///< of these
    std::int64_t blocks{};   ///< layers of a chain that may be cut into stages; 0: it is none
    std::string no_chain;    ///< why it is none
    std::string number_type; ///< of the parameters: "fp32" or "fp64"
    std::vector<std::string> operators;
};

/// Everything that is wrong with it, in one error.
[[nodiscard]] Error all_of(const std::vector<std::string>& problems);

/// A TorchScript archive whose functions and modules are checked. Its weights are a view of the file, which takes no
/// memory. One thread.
class UserModel {
public:
    /// Reads and checks an archive, which may come from anybody: close the box before (sandbox.h). `fd` is a file, and
    /// may be closed afterwards. `watch` may be null, and else outlives this.
    /// Errors: invalid_argument, with all that is wrong (program_check.h), or that it cannot be read.
    [[nodiscard]] static Result<UserModel> open(int fd, RunWatch* watch);
    ~UserModel();
    UserModel(UserModel&&) noexcept;
    UserModel& operator=(UserModel&&) noexcept;

    [[nodiscard]] const UserModelFacts& facts() const;

    /// Checks that this is the model that `recipe` means: its number type, its blocks.
    /// Errors: invalid_argument with the place in the recipe.
    [[nodiscard]] Result<void> check_recipe(const Recipe& recipe) const;

    /// Runs it on two rows and on each alone, forward and backward, of a chain layer by layer.
    ///   rows     [2, encoded columns] in the recipe's number type, or int64 [2, tokens]
    ///   outputs  of each row, or of each token
    /// Errors: invalid_argument, when outputs have another shape or type, are not finite or depend on more than their
    /// row, when a parameter gets no gradient, or when it fails. Throws std::bad_alloc.
    /// REQUIRES: check_recipe()
    [[nodiscard]] Result<void> probe(const Recipe& recipe, const at::Tensor& rows, std::int64_t outputs);

    /// Sizes of what a layer of a chain gives for each row. REQUIRES: probe()
    [[nodiscard]] const std::vector<std::int64_t>& output_sizes(std::int64_t position) const;

    /// A copy to train, or one without memory for parameters; of a chain the layers of `stage`, with their names in the
    /// whole. Buffers are shared with the archive. Errors: invalid_argument, when it has no such layers.
    [[nodiscard]] Result<torch::jit::Module> module(Weights weights, const ModelStage& stage = {}) const;

    [[nodiscard]] RunWatch* watch() const;

private:
    struct State;
    explicit UserModel(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

} // namespace muster::worker
