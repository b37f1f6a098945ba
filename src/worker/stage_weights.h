/// Brings the weights of a model's stages together, in a file and not in memory.
#pragma once

#include "model/preprocessing.h"
#include "model/recipe.h"
#include "worker/program.h"

#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>

#include <vector>

namespace muster::worker {

/// Writes the whole model's weights into `fd` at rank 0, in the format of safetensors: a length, a JSON header with
/// names, types and places, the numbers. The stages, which are the first ranks in order, send theirs one tensor at a
/// time, so nobody holds more than the own stage and one tensor, and nobody waits longer than one takes. All ranks call
/// it; `program` holds stages[rank]. `fd` counts at rank 0 only, where the file is emptied first. Throws
/// std::system_error when writing fails, and what the group throws.
void gather_weights(const ModelProgram& program,
                    const Recipe& recipe,
                    const Preprocessing& preprocessing,
                    const std::vector<ModelStage>& stages,
                    const c10::intrusive_ptr<c10d::ProcessGroup>& group,
                    int fd,
                    const UserModel* user_model = nullptr);

/// Writes the archive (ModelProgram::export_archive) of the weights that gather_weights() has left in `weights_fd` to
/// `fd`. They are mapped and not read, so they take no memory of the process.
/// Throws std::system_error when the file cannot be mapped or writing fails.
void export_gathered(const Recipe& recipe,
                     const Preprocessing& preprocessing,
                     int weights_fd,
                     int fd,
                     const UserModel* user_model = nullptr);

} // namespace muster::worker
