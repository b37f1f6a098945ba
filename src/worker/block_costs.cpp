#include "worker/block_costs.h"

#include "worker/accumulating_linear.h"
#include "worker/allocation_meter.h"
#include "worker/batch.h"
#include "worker/dropout.h"
#include "worker/families.h"
#include "worker/loss.h"
#include "worker/optimizer.h"
#include "worker/program.h"
#include "worker/ranks.h"
#include "worker/user_model.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <map>

namespace muster::worker {
namespace {

std::int64_t optimizer_copies(const RecipeOptimizer& optimizer) {
    if (optimizer.kind == OptimizerKind::adamw) {
        return 2;
    }
    return optimizer.momentum != 0.0 ? 1 : 0;
}

/// What makes blocks alike: their weights, whatever their position, and their input.
std::string kind_of(const Recipe& recipe, const std::vector<ParameterShape>& shapes, const at::Tensor& input) {
    std::string kind =
        recipe.model.archive ? shapes.front().name : ""; // of a user's layers only they know what they do
    for (const ParameterShape& shape : shapes) {
        kind += shape.name.substr(shape.name.rfind('.') + 1);
        for (const std::int64_t size : shape.sizes) {
            kind += ' ' + std::to_string(size);
        }
        kind += ';';
    }
    for (const std::int64_t size : input.sizes()) {
        kind += ' ' + std::to_string(size);
    }
    return kind;
}

/// A block that was measured, and the sizes of what it gives.
struct MeasuredBlock {
    BlockCost cost;
    at::Tensor output;
};

/// One micro-batch through one block, again and again.
class BlockRun {
public:
    BlockRun(ModelProgram& program, const at::Tensor& input, const Recipe& recipe, const Batch* end)
        : program_{program}, input_{input.detach()}, recipe_{recipe}, end_{end} {
        if (input_.is_floating_point()) {
            input_.requires_grad_(true);
        }
    }

    /// Forward and backward; notes what memory they take. Gradients of the weights add up, as over micro-batches.
    void once(BlockCost& cost) {
        input_.mutable_grad().reset();
        output_.reset();
        const AccumulationScope accumulation; // as the pipeline does
        AllocationMeter meter;
        {
            const DropoutScope dropout{recipe_.seed, 0, 0};
            output_ = program_.forward(input_);
        }
        cost.activation_bytes = meter.bytes();
        meter.restart_peak();
        if (end_ != nullptr) {
            loss_part({recipe_.loss, recipe_.quantile}, output_, end_->target, output_.size(0)).backward();
        } else {
            output_.backward(at::ones_like(output_));
        }
        cost.working_bytes = std::max<std::int64_t>(0, meter.peak_bytes() - cost.activation_bytes);
        output_ = output_.detach();
    }

    [[nodiscard]] const at::Tensor& output() const { return output_; }

private:
    ModelProgram& program_;
    at::Tensor input_;
    const Recipe& recipe_;
    const Batch* end_;
    at::Tensor output_;
};

template <typename Action>
double mean_seconds(const BlockSettings& settings, Action action) {
    const SteadyTime begin = std::chrono::steady_clock::now();
    int timed = 0;
    Duration passed{};
    do {
        action();
        ++timed;
        passed = std::chrono::steady_clock::now() - begin;
    } while ((timed < settings.timed_steps || passed < settings.timed_min) && passed < settings.timed_max);
    return std::chrono::duration<double>(passed).count() / timed;
}

MeasuredBlock measure_block(ModelProgram& program,
                            const at::Tensor& input,
                            const Recipe& recipe,
                            const Batch* end,
                            std::int64_t state_bytes,
                            const BlockSettings& settings) {
    MeasuredBlock measured;
    BlockCost& cost = measured.cost;
    BlockRun run{program, input, recipe, end};
    run.once(cost); // warm-up; from here on gradients exist
    cost.seconds = mean_seconds(settings, [&] { run.once(cost); });
    Optimizer optimizer{recipe.optimizer, program.parameters(), 1};
    cost.update_seconds = mean_seconds({.timed_min = {}, .timed_max = settings.timed_max}, [&] { optimizer.step(); });
    cost.state_bytes = state_bytes;
    cost.input_bytes = static_cast<std::int64_t>(input.nbytes());
    measured.output = run.output();
    return measured;
}

/// A block that is not built: what it would take, and the shape of what it would give.
MeasuredBlock sized_block(const Recipe& recipe,
                          const Preprocessing& preprocessing,
                          std::int64_t position,
                          std::int64_t state_bytes,
                          const at::Tensor& input,
                          const UserModel* user_model) {
    std::vector<std::int64_t> sizes = user_model != nullptr ? user_model->output_sizes(position)
                                                            : block_output_sizes(recipe, preprocessing, position);
    sizes.insert(sizes.begin(), input.size(0));
    MeasuredBlock sized;
    sized.cost.state_bytes = state_bytes;
    sized.cost.input_bytes = static_cast<std::int64_t>(input.nbytes());
    sized.output = at::zeros(sizes, scalar_type(recipe));
    return sized;
}

/// A micro-batch of rows, or of samples of a text, from the first on and again from there; empty, where there is none.
std::vector<std::int64_t> some_rows(const Recipe& recipe, const Matrix& matrix) {
    const std::int64_t step = recipe.data.text ? recipe.data.text->sequence : 1;
    const std::int64_t distinct = matrix.rows / step;
    std::vector<std::int64_t> rows;
    for (std::int64_t i = 0; i < micro_rows_of(recipe) && distinct > 0; ++i) {
        rows.push_back(i % distinct * step);
    }
    return rows;
}

} // namespace

Result<std::vector<BlockCost>> measure_blocks(const Recipe& recipe,
                                              const Preprocessing& preprocessing,
                                              const Matrix& matrix,
                                              const BlockSettings& settings) {
    const std::vector<std::int64_t> rows = some_rows(recipe, matrix);
    if (rows.empty()) {
        return Error{ErrorCode::invalid_argument, "the data is shorter than one sample", "/data"};
    }
    BatchBuffer buffer{recipe, preprocessing, std::ssize(rows)};
    const Batch batch = buffer.gather(matrix, rows);
    const std::int64_t blocks = block_count(recipe);
    std::map<std::string, MeasuredBlock> kinds;
    std::vector<BlockCost> costs;
    at::Tensor input = batch.rows;
    for (std::int64_t position = 0; position < blocks; ++position) {
        const ModelStage stage{position, 1};
        const auto shapes = parameter_shapes(recipe, preprocessing, stage, settings.user_model);
        if (!shapes) {
            return shapes.error();
        }
        const std::string kind = kind_of(recipe, *shapes, input);
        auto found = kinds.find(kind);
        const std::int64_t state_bytes =
            elements_of(*shapes) * number_bytes(recipe) * (2 + optimizer_copies(recipe.optimizer));
        const bool too_large = settings.memory_bytes_max > 0 && state_bytes > settings.memory_bytes_max;
        if (found == kinds.end() && too_large) {
            found = kinds
                        .emplace(kind,
                                 sized_block(recipe, preprocessing, position, state_bytes, input, settings.user_model))
                        .first;
        } else if (found == kinds.end()) {
            auto program = ModelProgram::build(recipe, preprocessing, stage, settings.user_model);
            if (!program) {
                return std::move(program).error();
            }
            const Batch* const end = position + 1 == blocks ? &batch : nullptr;
            found = kinds.emplace(kind, measure_block(*program, input, recipe, end, state_bytes, settings)).first;
            for (const at::Tensor& parameter : program->parameters()) {
                parameter.mutable_grad().reset();
            }
        }
        costs.push_back(found->second.cost);
        costs.back().name = block_name(recipe, position);
        input = found->second.output;
    }
    return costs;
}

std::int64_t whole_memory_bytes(const Calibration& calibration, std::int64_t rows) {
    const double pieces = static_cast<double>(rows) / static_cast<double>(calibration.micro_rows);
    double activations = 0.0;
    std::int64_t state = 0;
    std::int64_t working = 0;
    for (const BlockCost& block : calibration.blocks) {
        activations += static_cast<double>(block.activation_bytes) * pieces;
        state += block.state_bytes;
        working = std::max(working, static_cast<std::int64_t>(static_cast<double>(block.working_bytes) * pieces));
    }
    return calibration.base_bytes + state + working + static_cast<std::int64_t>(activations);
}

double whole_step_seconds(const Calibration& calibration, std::int64_t rows) {
    const double pieces = static_cast<double>(rows) / static_cast<double>(calibration.micro_rows);
    double seconds = 0.0;
    for (const BlockCost& block : calibration.blocks) {
        seconds += block.seconds * pieces + block.update_seconds;
    }
    return seconds;
}

} // namespace muster::worker
