/// The command line's connection to the producer.
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "link/https_client.h"

#include <nlohmann/json.hpp>

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

namespace muster::app {

/// client.yaml: where the producer is, and who calls. Paths are relative to the file.
struct ClientSettings {
    std::string server; ///< https://host:port
    std::filesystem::path certificate;
    std::filesystem::path key;
    std::filesystem::path authority;
};

/// Finds and reads the client file: `file` when given, else $MUSTER_CLIENT, ./client.yaml,
/// ~/.config/muster/client.yaml. Errors: not_found, naming the places; invalid_argument.
[[nodiscard]] Result<ClientSettings> load_client(const std::string& file);

/// One answer: HTTP status and JSON body (null when empty).
struct ClientAnswer {
    int status{};
    nlohmann::json body;
};

/// Speaks JSON with the producer. One thread.
class Client {
public:
    /// Errors: not_found, invalid_argument (files).
    [[nodiscard]] static Result<Client> open(const ClientSettings& settings);

    /// Sends and turns an error answer into an Error with its title, bad attributes and nearest match.
    /// Errors: as link::HttpsClient; by status: 400 413 415 -> invalid_argument, 401, 403, 404, 409, 429 503 ->
    /// unavailable.
    [[nodiscard]] Result<ClientAnswer> call(const std::string& method,
                                            const std::string& path,
                                            const std::optional<nlohmann::json>& body = std::nullopt,
                                            const std::string& media_type = "application/json");
    /// Objects below `dn`, flat: [{id, objectClass, objectInstance, attributes}].
    [[nodiscard]] Result<nlohmann::json> objects(const std::string& dn, const std::string& scope_type = "BASE_ALL");
    /// vsData of the container `<dn>,VsDataContainer=<name>`; null when there is none.
    [[nodiscard]] Result<nlohmann::json> vendor_data(const std::string& dn, const std::string& name);
    /// Uploads a file as the blob of its SHA-256, from where an upload that broke off has come to.
    [[nodiscard]] Result<void> upload(const std::filesystem::path& file, const std::string& sha256);
    [[nodiscard]] Result<void> download(const std::string& path, const std::filesystem::path& file);
    [[nodiscard]] const std::string& server() const { return server_; }

    /// Time allowed to each call.
    void set_timeout(Duration timeout) { timeout_ = timeout; }

private:
    Client(std::string server, std::function<link::HttpsClient()> connect)
        : server_{std::move(server)}, connect_{std::move(connect)}, https_{connect_()} {}
    std::string server_;
    std::function<link::HttpsClient()> connect_;
    link::HttpsClient https_;
    Duration timeout_{std::chrono::seconds{30}};
};

/// /ProvMnS/v1/SubNetwork=1/... for a DN.
[[nodiscard]] std::string path_of(const std::string& dn);

} // namespace muster::app
