/// Fetches the program of a user from the producer.
#pragma once

#include "base/clock.h"
#include "base/fd.h"
#include "base/result.h"
#include "port/producer_link.h"

#include <cstdint>
#include <filesystem>
#include <string>

namespace muster::function {

/// What is fetched, and to where.
struct ProgramDownload {
    std::string sha256;           ///< as the recipe says, hex
    std::int64_t bytes{};         ///< as the recipe says
    std::int64_t bytes_max{};     ///< of this function
    std::filesystem::path folder; ///< emptied first; the file has no name in it any more when this returns
};

/// Downloads the archive and gives it open for reading: it is gone when it is closed, however this process ends.
/// Errors: resource_exhausted, when it is too large; invalid_argument, when it is not what the recipe names; those of
/// ProducerLink::download.
[[nodiscard]] Result<UniqueFd>
download_program(ProducerLink& producer, const ProgramDownload& wanted, Deadline deadline);

} // namespace muster::function
