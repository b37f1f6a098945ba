/// function.yaml: a training function's settings (docs/operating.md).
#pragma once

#include "app/muster/credential_files.h"
#include "base/id.h"
#include "base/result.h"
#include "function/agent.h"
#include "function/capacity.h"
#include "function/catalogue.h"
#include "function/data_process.h"
#include "function/worker_launcher.h"

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace muster::app {

/// How a function gets its first certificate.
struct EnrolmentSource {
    Secret token;
    std::string authority_fingerprint; ///< SHA-256 of the CA certificate, hex
};

/// Everything in the file, checked.
struct FunctionConfig {
    function::AgentSettings agent;
    std::string producer;        ///< https://host:port
    std::filesystem::path state; ///< keys, caches, jobs
    std::optional<EnrolmentSource> enrolment{};
    std::optional<CredentialFiles> credentials{}; ///< of the operator's own CA; then nothing is renewed by itself
    std::vector<function::CatalogueEntry> data;
    function::CapacityOverrides capacity;
    function::LauncherSettings launcher;
    function::DataSettings matrices; ///< how sources are encoded, and the cache of that
};

/// Errors: not_found; invalid_argument with file:line:column, allowed values and nearest match.
[[nodiscard]] Result<FunctionConfig> read_function_config(const std::filesystem::path& file);

} // namespace muster::app
