#include "app/muster/client.h"

#include "base/file.h"
#include "link/blob_upload.h"
#include "link/url.h"
#include "nrm/dn.h"
#include "wire/document.h"

#include <fmt/format.h>

#include <cstdlib>

namespace muster::app {
namespace {

namespace fs = std::filesystem;

fs::path resolved(const fs::path& folder, const std::string& file) {
    return fs::path{file}.is_absolute() ? fs::path{file} : folder / file;
}

std::vector<fs::path> usual_places() {
    std::vector<fs::path> places{"client.yaml"};
    if (const char* home = std::getenv("HOME")) { // NOLINT(concurrency-mt-unsafe): read once, before any thread
        places.push_back(fs::path{home} / ".config/muster/client.yaml");
    }
    return places;
}

ErrorCode code_of(int status) {
    switch (status) {
    case 401:
        return ErrorCode::unauthenticated;
    case 403:
        return ErrorCode::permission_denied;
    case 404:
        return ErrorCode::not_found;
    case 409:
        return ErrorCode::conflict;
    case 400:
    case 406:
    case 413:
    case 415:
        return ErrorCode::invalid_argument;
    default:
        return ErrorCode::unavailable;
    }
}

Error error_of(int status, const nlohmann::json& body) {
    Error error{code_of(status), fmt::format("the producer answered {}", status)};
    if (body.is_object()) {
        error.message = body.value("title", body.value("reason", error.message));
    }
    return error;
}

} // namespace

Result<ClientSettings> load_client(const std::string& file) {
    fs::path found = file;
    if (found.empty()) {
        if (const char* variable = std::getenv("MUSTER_CLIENT")) { // NOLINT(concurrency-mt-unsafe)
            found = variable;
        }
    }
    if (found.empty()) {
        for (const fs::path& place : usual_places()) {
            if (fs::exists(place)) {
                found = place;
                break;
            }
        }
    }
    if (found.empty()) {
        return Error{ErrorCode::not_found,
                     "no client file: give --client FILE, set MUSTER_CLIENT, or make ./client.yaml or "
                     "~/.config/muster/client.yaml "
                     "(keys: server, certificate, key, authority)"};
    }
    auto document = wire::read_document(found);
    if (!document) {
        return std::move(document).error();
    }
    wire::Fields fields{document->value, "", &document->places};
    const fs::path folder = found.parent_path();
    ClientSettings settings{.server = fields.text("server"),
                            .certificate = resolved(folder, fields.text("certificate")),
                            .key = resolved(folder, fields.text("key")),
                            .authority = resolved(folder, fields.text("authority"))};
    if (auto done = fields.finish(); !done) {
        return std::move(done).error();
    }
    return settings;
}

Result<Client> Client::open(const ClientSettings& settings) {
    auto url = link::parse_url(settings.server);
    auto certificate = read_file(settings.certificate);
    auto key = read_file(settings.key);
    auto authority = read_file(settings.authority);
    if (!url) {
        return std::move(url).error();
    }
    for (auto* file : {&certificate, &key, &authority}) {
        if (!*file) {
            return std::move(*file).error();
        }
    }
    auto context =
        tls::Context::client({.own = {.certificate = *certificate, .key = Secret{*key}}, .trust = *authority});
    if (!context) {
        return std::move(context).error();
    }
    return Client{settings.server,
                  [target = link::HttpsSettings{.host = url->host, .port = url->port}, context = *context] {
                      return link::HttpsClient{target, context};
                  }};
}

Result<ClientAnswer> Client::call(const std::string& method,
                                  const std::string& path,
                                  const std::optional<nlohmann::json>& body,
                                  const std::string& media_type) {
    link::Headers headers{{"Accept", "application/vnd.3gpp.object-tree-flat+json, application/json"}};
    if (body) {
        headers.emplace_back("Content-Type", media_type);
    }
    auto answer = https_.request(method, path, headers, body ? body->dump() : std::string{}, Deadline::after(timeout_));
    if (!answer) {
        return std::move(answer).error();
    }
    ClientAnswer result{answer->status, nlohmann::json::parse(answer->body, nullptr, false)};
    if (result.body.is_discarded()) {
        result.body = answer->body.empty() ? nlohmann::json(nullptr) : nlohmann::json(answer->body);
    }
    if (answer->status >= 400) {
        return error_of(answer->status, result.body);
    }
    return result;
}

Result<nlohmann::json> Client::objects(const std::string& dn, const std::string& scope_type) {
    auto answer = call("GET", path_of(dn) + "?scopeType=" + scope_type);
    if (!answer) {
        return std::move(answer).error();
    }
    return answer->body.is_array() ? std::move(answer->body) : nlohmann::json::array({answer->body});
}

Result<nlohmann::json> Client::vendor_data(const std::string& dn, const std::string& name) {
    auto answer = call("GET", path_of(dn + ",VsDataContainer=" + name));
    if (!answer && answer.error().code == ErrorCode::not_found) {
        return nlohmann::json(nullptr);
    }
    if (!answer) {
        return std::move(answer).error();
    }
    const nlohmann::json object = answer->body.is_array() && !answer->body.empty() ? answer->body[0] : answer->body;
    return object.value("attributes", nlohmann::json::object()).value("vsData", nlohmann::json(nullptr));
}

Result<void> Client::upload(const fs::path& file, const std::string& sha256) {
    constexpr std::size_t part_bytes = 1U << 20U;
    return link::upload_blob(connect_, file, sha256, part_bytes, Deadline::after(std::chrono::minutes{30}));
}

Result<void> Client::download(const std::string& path, const fs::path& file) {
    constexpr std::uint64_t bytes_max = std::uint64_t{64} << 30U;
    auto answer = https_.download(path, {}, file, bytes_max, Deadline::after(std::chrono::minutes{30}));
    if (!answer) {
        return std::move(answer).error();
    }
    if (answer->status != 200) {
        return error_of(answer->status, nlohmann::json::parse(answer->body, nullptr, false));
    }
    return {};
}

std::string path_of(const std::string& dn) {
    const auto parsed = nrm::Dn::parse(dn);
    return "/ProvMnS/v1/" + (parsed ? parsed->path() : dn);
}

} // namespace muster::app
