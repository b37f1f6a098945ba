/// DataProgram by the program muster-data, one process for each source.
#pragma once

#include "port/worker_process.h"

#include <cstdint>
#include <filesystem>
#include <memory>

namespace muster::function {

/// How muster-data is started at this function.
struct DataSettings {
    std::filesystem::path program;
    std::filesystem::path cache{};            ///< folder of encoded matrices
    std::int64_t cache_bytes_max{16LL << 30}; ///< of all matrices; those in use and the newest stay
};

/// Runs `program --request FILE --cache DIR` (docs: api/matrix.md). The destructor ends what is running.
[[nodiscard]] std::unique_ptr<DataProgram> data_process(DataSettings settings);

} // namespace muster::function
