/// The section `credentials` of the services' configuration: PEM files of a certificate, its key and the trusted CA.
#pragma once

#include "base/result.h"
#include "tls/context.h"
#include "wire/fields.h"

#include <filesystem>

namespace muster::app {

/// Paths are relative to the configuration file.
struct CredentialFiles {
    std::filesystem::path certificate;
    std::filesystem::path key;
    std::filesystem::path authority;
};

/// Takes a path as it stands in a file in `folder`.
[[nodiscard]] std::filesystem::path relative_to(const std::filesystem::path& folder, const std::string& path);
/// Reads the section. All three keys are required.
[[nodiscard]] CredentialFiles
read_credential_files(wire::Fields& parent, const std::string& name, const std::filesystem::path& folder);
/// Reads the files. Errors: not_found, naming the file.
[[nodiscard]] Result<tls::Credentials> load(const CredentialFiles& files);

} // namespace muster::app
