#include "app/muster/function_identity.h"

#include "base/assert.h"
#include "base/file.h"
#include "base/log.h"
#include "link/https_client.h"
#include "link/url.h"

#include <nlohmann/json.hpp>

#include <condition_variable>
#include <mutex>

namespace muster::app {
namespace {

constexpr auto call_timeout = std::chrono::seconds{20};
constexpr auto check_every = std::chrono::minutes{1};
constexpr unsigned private_mode = 0600;

CredentialFiles files_in(const std::filesystem::path& state) {
    return {.certificate = state / "certificate.pem", .key = state / "key.pem", .authority = state / "authority.pem"};
}

/// POSTs a certificate request and gives the answer {certificate, authority}.
Result<nlohmann::json>
ask(const std::string& producer, tls::Context context, const std::string& path, const nlohmann::json& body) {
    auto url = link::parse_url(producer);
    if (!url) {
        return std::move(url).error();
    }
    link::HttpsClient https{{.host = url->host, .port = url->port}, std::move(context)};
    auto answer =
        https.request("POST", path, {{"Content-Type", "application/json"}}, body.dump(), Deadline::after(call_timeout));
    if (!answer) {
        return std::move(answer).error();
    }
    auto json = nlohmann::json::parse(answer->body, nullptr, false);
    if (answer->status >= 300 || !json.is_object()) {
        const std::string words = json.is_object() ? json.value("title", "") : answer->body;
        const ErrorCode code = answer->status >= 500 ? ErrorCode::unavailable : ErrorCode::permission_denied;
        return Error{code, "the producer refused a certificate: " + words};
    }
    return json;
}

} // namespace

Result<std::unique_ptr<FunctionIdentity>> FunctionIdentity::open(const FunctionConfig& config) {
    std::unique_ptr<FunctionIdentity> identity{new FunctionIdentity{config}};
    std::error_code code;
    std::filesystem::create_directories(config.state, code);
    const CredentialFiles files = config.credentials.value_or(files_in(config.state));
    if (config.credentials || std::filesystem::exists(files.certificate)) {
        auto loaded = load(files);
        if (!loaded) {
            return std::move(loaded).error();
        }
        auto info = tls::inspect(loaded->own.certificate);
        if (!info) {
            return std::move(info).error().within(files.certificate.string());
        }
        if (std::chrono::system_clock::now() < info->not_after || !config.enrolment) {
            auto adopted = identity->adopt(*loaded, false);
            return adopted ? Result<std::unique_ptr<FunctionIdentity>>{std::move(identity)}
                           : std::move(adopted).error();
        }
    }
    if (!config.enrolment) {
        return Error{ErrorCode::unauthenticated,
                     "this function has no certificate: give `enrolment` (muster function enroll makes a token) or "
                     "`credentials` in its configuration"};
    }
    if (auto enrolled = identity->enrol(); !enrolled) {
        return std::move(enrolled).error().within("enrolment");
    }
    return identity;
}

Result<void> FunctionIdentity::enrol() {
    auto context = tls::Context::pinned_client(config_.enrolment->authority_fingerprint);
    if (!context) {
        return std::move(context).error();
    }
    // The key outlives a lost answer: the same token with the same key gives the same certificate again.
    const auto key_file = files_in(config_.state).key;
    auto kept = read_file(key_file);
    const Secret key = kept ? Secret{*kept} : tls::make_key();
    if (!kept) {
        if (auto written = replace_file(key_file, key.reveal(), private_mode); !written) {
            return written;
        }
    }
    auto request = tls::make_request(key, tls::function_uri(config_.agent.dn));
    if (!request) {
        return std::move(request).error();
    }
    auto answer = ask(config_.producer,
                      std::move(*context),
                      "/muster/v1/enrolment",
                      {{"token", config_.enrolment->token.reveal()}, {"dn", config_.agent.dn}, {"csr", *request}});
    if (!answer) {
        return std::move(answer).error();
    }
    log::info("enrolled dn={}", config_.agent.dn);
    return adopt(
        {.own = {.certificate = answer->value("certificate", ""), .key = key}, .trust = answer->value("authority", "")},
        true);
}

Result<void> FunctionIdentity::adopt(const tls::Credentials& credentials, bool keep) {
    if (auto context = tls::Context::client(credentials); !context) {
        return std::move(context).error();
    }
    if (keep) {
        const CredentialFiles files = files_in(config_.state);
        for (auto written : {replace_file(files.key, credentials.own.key.reveal(), private_mode),
                             replace_file(files.authority, credentials.trust),
                             replace_file(files.certificate, credentials.own.certificate)}) {
            if (!written) {
                return written;
            }
        }
    }
    credentials_.with([&](tls::Credentials& current) { current = credentials; });
    return {};
}

tls::Credentials FunctionIdentity::credentials() const {
    return credentials_.with([](const tls::Credentials& current) { return current; });
}

tls::Context FunctionIdentity::context() const {
    auto context = tls::Context::client(credentials());
    MUSTER_ASSERT(context.ok()); // adopt() has tried it
    return std::move(*context);
}

Result<void> FunctionIdentity::renew_if_due(WallTime now) {
    const tls::Credentials current = credentials();
    auto info = tls::inspect(current.own.certificate);
    if (!info) {
        return std::move(info).error();
    }
    if (config_.credentials) {
        if (now > info->not_before + (info->not_after - info->not_before) * 2 / 3) {
            log::warning("certificate ends soon, replace its files {} until={}",
                         log::field("file", config_.credentials->certificate.string()),
                         rfc3339(info->not_after));
        }
        return {};
    }
    if (now < info->not_before + (info->not_after - info->not_before) * 2 / 3) {
        return {};
    }
    const Secret key = tls::make_key();
    auto request = tls::make_request(key, tls::function_uri(config_.agent.dn));
    if (!request) {
        return std::move(request).error();
    }
    auto answer = ask(config_.producer, context(), "/muster/v1/renewal", {{"csr", *request}});
    if (!answer) {
        return std::move(answer).error();
    }
    log::info("certificate renewed dn={}", config_.agent.dn);
    return adopt(
        {.own = {.certificate = answer->value("certificate", ""), .key = key}, .trust = answer->value("authority", "")},
        true);
}

void FunctionIdentity::run(const std::stop_token& stop) {
    std::mutex mutex;
    std::condition_variable_any wake;
    std::unique_lock lock{mutex};
    while (!stop.stop_requested()) {
        if (auto renewed = renew_if_due(std::chrono::system_clock::now()); !renewed) {
            log::warning("certificate could not be renewed, it is tried again {}",
                         log::field("reason", renewed.error().text()));
        }
        wake.wait_for(lock, stop, check_every, [] { return false; });
    }
}

} // namespace muster::app
