#include "worker/session_inputs.h"

#include "wire/recipe.h"
#include "worker/class_weights.h"
#include "worker/compute_device.h"
#include "worker/group_scores.h"
#include "worker/program.h"
#include "worker/session_model.h"
#include "worker/session_rows.h"
#include "worker/used_rows.h"

#include <utility>

namespace muster::worker {
namespace {

Error about(const char* what, const Error& error) {
    return {error.code, std::string{what} + ": " + error.text()};
}

/// Errors: invalid_argument, when the settings name no device, or more memory was offered than it has.
Result<c10::Device> choose_device(const SessionJobSettings& settings) {
    auto device = parse_device(settings.device);
    if (!device) {
        return device;
    }
    const std::int64_t has = device_memory_bytes(*device);
    if (has > 0 && (settings.memory_bytes_max == 0 || settings.memory_bytes_max > has)) {
        constexpr std::int64_t megabyte = 1'000'000;
        return Error{ErrorCode::invalid_argument,
                     device->str() + " has " + std::to_string(has / megabyte) +
                         " MB, less than this function offers to jobs; set capacity.memory_mb to at most that"};
    }
    return device;
}

/// What stands for data that is not here; none when it is.
/// Errors: invalid_argument, when the data is neither here nor described, or both.
Result<std::optional<SessionData>> find_data(const SessionData& given, const std::optional<DataElsewhere>& described) {
    if (described.has_value() == (given.info.rows > 0)) {
        return Error{ErrorCode::invalid_argument,
                     described ? "it is here and was described as being elsewhere"
                               : "it is not here and nothing was said of it"};
    }
    if (!described) {
        return std::optional<SessionData>{};
    }
    auto matrices = matrices_elsewhere(described->matrix);
    if (!matrices) {
        return std::move(matrices).error();
    }
    return std::optional{SessionData{std::move(*matrices), described->matrix, described->preprocessing}};
}

/// Trained scalars: weights, or the leaves' values at most.
Result<std::int64_t> count_parameters(const JobInputs& inputs) {
    const Preprocessing& preprocessing = inputs.data().preprocessing;
    if (const auto& trees = inputs.recipe.model.trees) {
        return trees->trees * trees->leaves * preprocessing.outputs();
    }
    const auto shapes =
        parameter_shapes(inputs.recipe, preprocessing, {}, inputs.user_model.get(), processor_of(inputs.device));
    return shapes ? Result<std::int64_t>{elements_of(*shapes)} : shapes.error();
}

/// The answer to the order, from a model that is not built: no function builds what it may not hold.
Result<Prepared> prepare(const JobInputs& inputs, const WorkerPrepare& order) {
    const SessionData& data = inputs.data();
    if (auto checked = check_report_by(inputs.recipe, data.preprocessing); !checked) {
        return about("recipe", checked.error());
    }
    if (auto checked = check_class_weights(inputs.recipe, data.preprocessing); !checked) {
        return about("recipe", checked.error());
    }
    const auto parameters = count_parameters(inputs);
    if (!parameters) {
        return about("model", parameters.error());
    }
    const RowCounts rows = order.data ? RowCounts{order.data->training_rows, order.data->validation_rows}
                                      : row_counts(inputs.recipe, data.matrices.train);
    if (inputs.recipe.data.text && rows.training < 1) {
        return Error{ErrorCode::invalid_argument,
                     "data: the text has " + std::to_string(data.info.rows + 1) +
                         " tokens, fewer than a sample of data.text.sequence " +
                         std::to_string(inputs.recipe.data.text->sequence)};
    }
    return Prepared{.job = order.job,
                    .matrix = data.info,
                    .training_rows = rows.training,
                    .validation_rows = rows.validation,
                    .parameters = *parameters,
                    .outputs = {data.preprocessing.target.name},
                    .preprocessing = data.preprocessing};
}

} // namespace

Result<std::unique_ptr<JobInputs>> JobInputs::open(const SessionData& given,
                                                   const SessionJobSettings& settings,
                                                   const WorkerPrepare& order,
                                                   RunWatch& watch) {
    auto inputs = std::make_unique<JobInputs>();
    inputs->given = &given;
    auto recipe = wire::recipe_from_json(nlohmann::json::parse(order.recipe, nullptr, false));
    if (!recipe) {
        return about("recipe", recipe.error());
    }
    inputs->recipe = std::move(*recipe);
    inputs->threads = order.threads > 0 ? order.threads : settings.threads;
    prepare_thread(inputs->threads);
    const auto device = choose_device(settings);
    if (!device) {
        return about("device", device.error());
    }
    inputs->device = *device;
    auto elsewhere = find_data(given, order.data);
    if (!elsewhere) {
        return about("data", elsewhere.error());
    }
    inputs->elsewhere = std::move(*elsewhere);
    inputs->described = order.data;
    if (order.data) {
        auto landing = open_landing(settings, *order.data);
        if (!landing) {
            return about("data", landing.error());
        }
        inputs->landing = std::move(*landing);
    }
    if (inputs->recipe.model.archive) {
        auto opened = open_user_model(settings.program, inputs->recipe, inputs->data(), watch);
        if (!opened) {
            return about("model", opened.error());
        }
        inputs->user_model = std::move(*opened);
    }
    auto prepared = prepare(*inputs, order);
    if (!prepared) {
        return std::move(prepared).error();
    }
    inputs->prepared = std::move(*prepared);
    return inputs;
}

} // namespace muster::worker
