#include "app/muster/credential_files.h"

#include "base/file.h"

namespace muster::app {

std::filesystem::path relative_to(const std::filesystem::path& folder, const std::string& path) {
    return path.empty() || std::filesystem::path{path}.is_absolute() ? std::filesystem::path{path} : folder / path;
}

CredentialFiles
read_credential_files(wire::Fields& parent, const std::string& name, const std::filesystem::path& folder) {
    wire::Fields fields = parent.child(name);
    CredentialFiles files{.certificate = relative_to(folder, fields.text("certificate")),
                          .key = relative_to(folder, fields.text("key")),
                          .authority = relative_to(folder, fields.text("authority"))};
    parent.absorb(std::move(fields));
    return files;
}

Result<tls::Credentials> load(const CredentialFiles& files) {
    auto certificate = read_file(files.certificate);
    auto key = read_file(files.key);
    auto authority = read_file(files.authority);
    for (auto* file : {&certificate, &key, &authority}) {
        if (!*file) {
            return std::move(*file).error();
        }
    }
    return tls::Credentials{.own = {.certificate = std::move(*certificate), .key = Secret{std::move(*key)}},
                            .trust = std::move(*authority)};
}

} // namespace muster::app
