/// What a worker holds of its job once it is prepared: recipe, rows, a user's model, the device.
#pragma once

#include "base/result.h"
#include "model/recipe.h"
#include "shipping/landing.h"
#include "worker/run_watch.h"
#include "worker/session_job.h"
#include "worker/user_model.h"

#include <c10/core/Device.h>

#include <memory>
#include <optional>

namespace muster::worker {

struct JobInputs {
    Recipe recipe;
    std::optional<SessionData> elsewhere;       ///< stands for data that is not here, or is what has arrived of it
    std::optional<DataElsewhere> described{};   ///< that data
    std::optional<shipping::Landing> landing{}; ///< where its rows arrive, where they are shipped here
    const SessionData* given{};
    std::unique_ptr<UserModel> user_model; ///< of a recipe with an archive
    c10::Device device{c10::DeviceType::CPU};
    int threads{1};
    Prepared prepared; ///< what the producer is told

    /// The rows of the job, or what describes them.
    [[nodiscard]] const SessionData& data() const { return elsewhere ? *elsewhere : *given; }

    /// Reads the order, and finds all that does not fit before anything is agreed. On the job's thread, which is given
    /// its number of threads. `given` and `watch` outlive what comes back.
    /// Errors: invalid_argument or unavailable; the message begins with what it is about, as in "recipe: ".
    [[nodiscard]] static Result<std::unique_ptr<JobInputs>>
    open(const SessionData& given, const SessionJobSettings& settings, const WorkerPrepare& order, RunWatch& watch);
};

} // namespace muster::worker
