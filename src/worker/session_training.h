/// One generation's training at one member, to the archive at rank 0.
#pragma once

#include "base/result.h"
#include "collective/group.h"
#include "worker/trainer.h"
#include "worker/tree_progress.h"

#include <functional>

namespace muster::worker {

/// Where a model goes: open files, readable and writable. They are emptied first.
/// And where it comes from, when it is a user's, and is trained.
struct ModelFiles {
    int output{-1};                ///< the archive
    int weights{-1};               ///< weights of a split model on their way into the archive; needed at rank 0
    const UserModel* user_model{}; ///< of a recipe with an archive
    c10::Device device{c10::DeviceType::CPU}; ///< of whole models; stages are trained on the processor
};

/// Of boosted trees `order.group` is made of `group`, and `progress` as in train_trees(); others do without.
/// Builds the whole model or the own stage, trains it, and at rank 0 writes the archive. `leave` is called as soon as
/// the other members are needed no longer, whether it went well or not; `order.group` is given up before.
/// Returns Done without job and generation. Errors: those of ModelProgram::build and train(); invalid_argument, when
/// the order has no stage for this member. Throws std::system_error when a file cannot be written, and what the group
/// throws.
[[nodiscard]] Result<Done> train_and_export(const Recipe& recipe,
                                            const Preprocessing& preprocessing,
                                            const MatrixSet& matrices,
                                            TrainingOrder order,
                                            const ModelFiles& files,
                                            const std::function<void()>& leave,
                                            collective::Group* group = nullptr,
                                            TreeProgress* progress = nullptr);

} // namespace muster::worker
