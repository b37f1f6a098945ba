/// muster producer: the MLT MnS producer, put together.
#include "app/muster/exit_code.h"
#include "app/muster/interrupt.h"
#include "app/muster/notifier.h"
#include "app/muster/producer_config.h"
#include "app/muster/verbs.h"
#include "auth/audit.h"
#include "auth/enrolment.h"
#include "auth/gate.h"
#include "auth/policy.h"
#include "auth/revocation.h"
#include "base/file.h"
#include "base/log.h"
#include "link/function_server.h"
#include "producer/producer.h"
#include "rest/problem.h"
#include "rest/routes.h"
#include "rest/server.h"
#include "store/file_artefacts.h"
#include "store/sqlite/sqlite_store.h"
#include "wire/document.h"

#include <fmt/format.h>
#include <poll.h>

#include <atomic>
#include <memory>
#include <optional>
#include <thread>

namespace muster::app {
namespace {

namespace fs = std::filesystem;

constexpr unsigned private_mode = 0600;
constexpr auto job_ca_lifetime = std::chrono::hours{24 * 3650};
constexpr int certificate_check_ms = 10'000;

struct Options {
    std::string config{};
    bool check_only{false};
};

/// The job CA of this producer: made once, kept in its state folder, trusted by data planes only.
Result<tls::Authority> open_job_authority(const fs::path& state) {
    const fs::path certificate_file = state / "job-ca.pem";
    const fs::path key_file = state / "job-ca.key";
    auto certificate = read_file(certificate_file);
    auto key = read_file(key_file);
    if (certificate && key) {
        return tls::Authority::open({*certificate, Secret{*key}});
    }
    const tls::KeyPair root =
        tls::Authority::make_root("Muster job CA", job_ca_lifetime, std::chrono::system_clock::now());
    for (auto written :
         {replace_file(key_file, root.key.reveal(), private_mode), replace_file(certificate_file, root.certificate)}) {
        if (!written) {
            return std::move(written).error();
        }
    }
    return tls::Authority::open(root);
}

Result<std::optional<tls::Authority>> open_enrolment_authority(const ProducerConfig& config) {
    if (!config.enrolment) {
        return std::optional<tls::Authority>{};
    }
    auto certificate = read_file(config.enrolment->certificate);
    auto key = read_file(config.enrolment->key);
    if (!certificate || !key) {
        return certificate ? std::move(key).error() : std::move(certificate).error();
    }
    auto authority = tls::Authority::open({*certificate, Secret{*key}});
    if (!authority) {
        return std::move(authority).error().within("enrolment");
    }
    return std::optional{std::move(*authority)};
}

Result<auth::Policy> read_policy(const fs::path& file) {
    auto document = wire::read_document(file);
    return document ? auth::Policy::parse(*document) : Result<auth::Policy>{std::move(document).error()};
}

/// Everything the configuration names, opened: what --check-config tries.
struct Ingredients {
    tls::Context context;
    auth::Policy policy;
    std::optional<tls::Authority> enrolment;
};

Result<tls::Context> read_context(const ProducerConfig& config) {
    auto credentials = load(config.credentials);
    return credentials ? tls::Context::server(*credentials, tls::ClientCertificate::optional)
                       : Result<tls::Context>{std::move(credentials).error()};
}

Result<Ingredients> gather(const ProducerConfig& config) {
    auto context = read_context(config);
    auto policy = read_policy(config.policy);
    auto enrolment = open_enrolment_authority(config);
    if (!context) {
        return std::move(context).error().within("credentials");
    }
    if (!policy) {
        return std::move(policy).error().within("policy");
    }
    if (!enrolment) {
        return std::move(enrolment).error();
    }
    return Ingredients{std::move(*context), std::move(*policy), std::move(*enrolment)};
}

std::string address_text(const std::string& host, std::uint16_t port) {
    const bool v6 = host.find(':') != std::string::npos;
    return v6 ? fmt::format("https://[{}]:{}", host, port) : fmt::format("https://{}:{}", host, port);
}

/// Serves until a signal comes; meanwhile takes over certificates that were replaced on the disk.
void serve_until_interrupted(const ProducerConfig& config, rest::Server& server) {
    std::error_code ignored;
    auto seen = fs::last_write_time(config.credentials.certificate, ignored);
    while (!interrupted()) {
        pollfd entry{.fd = interrupt_fd(), .events = POLLIN, .revents = 0};
        (void)::poll(&entry, 1, certificate_check_ms);
        const auto now = fs::last_write_time(config.credentials.certificate, ignored);
        if (now == seen) {
            continue;
        }
        seen = now;
        if (auto context = read_context(config)) {
            server.replace_context(std::move(*context));
            log::info("certificate replaced {}", log::field("file", config.credentials.certificate.string()));
        } else {
            log::warning("the new certificate cannot be used, the old one stays; check the files {}",
                         log::field("reason", context.error().text()));
        }
    }
}

// NOLINTNEXTLINE(readability-function-size): the wiring of the whole producer, to be read in one piece
int serve(ProducerConfig config, Ingredients ingredients) {
    const SystemClock clock;
    SystemClock producer_clock;
    auto store = store::SqliteStore::open({.path = config.state / "store.db"});
    auto artefacts = store::FileArtefacts::open(
        {.folder = config.state / "artefacts", .blob_bytes_max = static_cast<std::int64_t>(config.blob_bytes_max)});
    auto audit = auth::AuditLog::open(config.state / "audit.jsonl", clock);
    auto job_authority = open_job_authority(config.state);
    if (!store || !artefacts || !audit || !job_authority) {
        return report(!store       ? store.error()
                      : !artefacts ? artefacts.error()
                      : !audit     ? audit.error()
                                   : job_authority.error());
    }
    auth::Revocations revocations{**store, clock};
    const auth::Gate gate{std::move(ingredients.policy), revocations};
    std::optional<auth::Enrolment> enrolment;
    if (ingredients.enrolment) {
        enrolment.emplace(**store,
                          *ingredients.enrolment,
                          revocations,
                          clock,
                          auth::EnrolmentSettings{.certificate_lifetime = config.enrolment->certificate_lifetime});
    }
    link::FunctionServer control{{}, clock};
    // The port is known once the server listens, the producer needs it for its URIs: until then the answer is 503.
    std::atomic<rest::Router*> router{nullptr};
    rest::Server server{config.server,
                        std::move(ingredients.context),
                        [&](const rest::Request& request) {
                            rest::Router* ready = router;
                            return ready != nullptr ? ready->handle(request)
                                                    : rest::problem(503, "UNAVAILABLE", "the producer is starting");
                        },
                        [&](const rest::Request& request) -> rest::UpgradeAnswer {
                            rest::Router* ready = router;
                            return ready != nullptr ? ready->upgrade(request)
                                                    : rest::UpgradeAnswer{rest::problem(
                                                          503, "UNAVAILABLE", "the producer is starting")};
                        }};
    if (auto started = server.start(); !started) {
        return report(started.error());
    }
    const std::string address = address_text(config.server.address, server.port());
    if (config.settings.public_url.empty()) {
        config.settings.public_url = address;
    }
    const auto function_trust = read_file(config.credentials.authority);
    if (!function_trust) {
        return report(function_trust.error());
    }
    auto producer = producer::Producer::open(
        {**store, control, **artefacts, *job_authority, producer_clock, *function_trust}, config.settings);
    if (!producer) {
        return report(producer.error());
    }
    rest::Router routes{{gate,
                         **audit,
                         enrolment ? &*enrolment : nullptr,
                         (*producer)->objects(),
                         (*producer)->services(),
                         **artefacts,
                         control,
                         revocations,
                         [&server](const rest::StillLetIn& stays) { server.recheck(stays); },
                         config.program_bytes_max}};
    control.start((*producer)->epoch(), (*producer)->events());
    auto notifier = Notifier::start(config, (*producer)->outbox());
    if (!notifier) {
        return report(notifier.error());
    }
    {
        const std::jthread loop{[&](const std::stop_token& stop) { (*producer)->loop().run(stop); }};
        router = &routes;
        if (auto written = replace_file(config.state / "address", address); !written) {
            return report(written.error());
        }
        log::info("producer listens address={} epoch={}", address, (*producer)->epoch());
        serve_until_interrupted(config, server);
        control.stop();
        server.stop();
        router = nullptr;
    }
    log::info("producer stops");
    return exit_done;
}

int run(const Options& options) {
    auto config = read_producer_config(options.config);
    if (!config) {
        return report(config.error());
    }
    auto ingredients = gather(*config);
    if (!ingredients) {
        return report(ingredients.error());
    }
    if (options.check_only) {
        say(fmt::format("{} is fine: it would listen on {}",
                        options.config,
                        address_text(config->server.address, config->server.port)));
        return exit_done;
    }
    std::error_code code;
    fs::create_directories(config->state, code);
    if (code) {
        return report(
            {ErrorCode::unavailable, fmt::format("cannot make {}: {}", config->state.string(), code.message())});
    }
    std::error_code ignored;
    fs::remove(config->state / "address", ignored); // of an earlier start
    catch_interrupts();
    return serve(std::move(*config), std::move(*ingredients));
}

} // namespace

void add_producer(Context& context) {
    auto options = std::make_shared<Options>();
    CLI::App* verb = context.app.add_subcommand(
        "producer", "run the MLT MnS producer\nExample: muster producer --config producer.yaml");
    verb->add_option("--config", options->config, "producer.yaml")->required();
    verb->add_flag("--check-config", options->check_only, "only check the configuration and the files it names");
    verb->callback([&context, options] { context.action = [options] { return run(*options); }; });
}

} // namespace muster::app
