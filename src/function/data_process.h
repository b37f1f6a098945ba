/// DataProgram by the program muster-data, one process for each source.
#pragma once

#include "port/worker_process.h"

#include <filesystem>
#include <memory>

namespace muster::function {

/// Runs `program --request FILE --cache DIR` (docs: api/matrix.md). The destructor ends what is running.
[[nodiscard]] std::unique_ptr<DataProgram> data_process(std::filesystem::path program, std::filesystem::path cache);

} // namespace muster::function
