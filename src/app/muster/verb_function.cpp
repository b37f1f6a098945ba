/// muster function: the training function's agent, and what a producer knows of functions.
#include "app/muster/exit_code.h"
#include "app/muster/function_config.h"
#include "app/muster/function_identity.h"
#include "app/muster/interrupt.h"
#include "app/muster/programs.h"
#include "app/muster/request_file.h"
#include "app/muster/verbs.h"
#include "base/file.h"
#include "base/log.h"
#include "function/data_process.h"
#include "function/state_lock.h"
#include "link/producer_client.h"
#include "link/url.h"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <thread>

namespace muster::app {
namespace {

using nlohmann::json;

constexpr auto stop_timeout = std::chrono::seconds{5};

struct Options {
    std::string config{};
    bool check_only{false};
    std::string dn{};
    double lifetime_hours{24.0};
};

/// Stands in for the link until it is made: agent and link need each other.
class LinkSlot final : public ProducerLink {
public:
    void set(link::ProducerClient* link) { link_ = link; }
    [[nodiscard]] std::int64_t epoch() const { return link_->epoch(); }
    Result<void> send(const FromFunction& message) override { return link_->send(message); }
    Result<void> download(const std::string& sha256,
                          const std::filesystem::path& file,
                          std::int64_t bytes_max,
                          Deadline deadline) override {
        return link_->download(sha256, file, bytes_max, deadline);
    }
    Result<void> upload(const std::filesystem::path& file, const std::string& sha256, Deadline deadline) override {
        return link_->upload(file, sha256, deadline);
    }

private:
    link::ProducerClient* link_{nullptr};
};

/// The highest producer epoch seen, remembered over a restart.
std::int64_t read_epoch(const std::filesystem::path& file) {
    auto text = read_file(file);
    std::int64_t epoch = 0;
    if (text) {
        std::from_chars(text->data(), text->data() + text->size(), epoch);
    }
    return epoch;
}

Result<FunctionConfig> complete(FunctionConfig config) {
    auto worker = sibling("muster-worker");
    if (!worker) {
        return std::move(worker).error();
    }
    auto data = sibling("muster-data");
    if (!data) {
        return std::move(data).error();
    }
    config.launcher.program = *worker;
    config.matrices.program = *data;
    return config;
}

int serve(const FunctionConfig& config) {
    const auto lock = function::lock_state(config.state);
    if (!lock) {
        return report(lock.error());
    }
    auto identity = FunctionIdentity::open(config);
    if (!identity) {
        return report(identity.error());
    }
    auto url = link::parse_url(config.producer);
    SystemClock agent_clock;
    LinkSlot slot;
    const auto launcher = function::worker_launcher(config.launcher);
    const auto data = function::data_process(config.matrices);
    function::Agent agent{
        config.agent,
        function::Catalogue{config.data},
        {.clock = agent_clock,
         .producer = slot,
         .launcher = *launcher,
         .data = *data,
         .capacity = [&] { return function::find_capacity({.state_folder = config.state}, config.capacity); },
         .identity = [&] { return (*identity)->credentials().own; },
         .epoch = [&] { return slot.epoch(); }}};
    agent.take_over(agent_clock.steady_now());
    const auto epoch_file = config.state / "epoch";
    link::ProducerClient client{{.producer = *url},
                                [&] { return (*identity)->context(); },
                                std::max(read_epoch(epoch_file), agent.epoch_left()),
                                agent};
    slot.set(&client);
    client.start();
    log::info("function starts dn={} producer={}", config.agent.dn, config.producer);
    {
        const std::jthread renewal{[&](const std::stop_token& stop) { (*identity)->run(stop); }};
        const std::jthread loop{[&](const std::stop_token& stop) { agent.run(stop); }};
        std::int64_t kept_epoch = 0;
        while (!interrupted()) {
            pollfd entry{.fd = interrupt_fd(), .events = POLLIN, .revents = 0};
            constexpr int epoch_check_ms = 1'000;
            (void)::poll(&entry, 1, epoch_check_ms);
            if (const auto epoch = client.epoch(); epoch != kept_epoch) {
                if (auto written = replace_file(epoch_file, std::to_string(epoch)); !written) {
                    log::warning("the producer's epoch cannot be kept {}",
                                 log::field("reason", written.error().text()));
                }
                kept_epoch = epoch;
            }
        }
    }
    client.stop(Deadline::after(stop_timeout));
    log::info("function stops dn={}", config.agent.dn);
    return exit_done;
}

int run(const Options& options) {
    auto config = read_function_config(options.config);
    if (!config) {
        return report(config.error());
    }
    auto completed = complete(std::move(*config));
    if (!completed) {
        return report(completed.error());
    }
    if (options.check_only) {
        say(fmt::format("{} is fine: {} at {}", options.config, completed->agent.dn, completed->producer));
        return exit_done;
    }
    catch_interrupts();
    return serve(*completed);
}

int list(Context& context) {
    auto client = open_client(context);
    if (!client) {
        return report(client.error());
    }
    auto answer = client->call("GET", "/muster/v1/functions");
    if (!answer) {
        return report(answer.error());
    }
    Table table{{"FUNCTION", "CONNECTED", "BUSY", "CORES", "MEMORY", "DATA"}, {}};
    for (const json& one : answer->body) {
        const json capacity = one.value("capacity", json::object());
        std::string sources;
        for (const json& source : one.value("sources", json::array())) {
            sources += (sources.empty() ? "" : " ") + source.value("name", "");
        }
        table.rows.push_back({one.value("dn", ""),
                              one.value("connected", false) ? "yes" : "no",
                              one.value("busy", false) ? "yes" : "no",
                              fmt::format("{:.2f}", capacity.value("cpu_cores", 0.0)),
                              bytes_text(capacity.value("memory_bytes", 0.0)),
                              sources});
    }
    print(context.format, answer->body, table);
    return exit_done;
}

int enroll(Context& context, const Options& options) {
    auto settings = load_client(context.client_file);
    if (!settings) {
        return report(settings.error());
    }
    auto client = Client::open(*settings);
    auto authority = read_file(settings->authority);
    if (!client || !authority) {
        return report(client ? authority.error() : client.error());
    }
    auto answer = client->call(
        "POST",
        "/muster/v1/tokens",
        json{{"dn", options.dn}, {"lifetime_seconds", static_cast<std::int64_t>(options.lifetime_hours * 3600.0)}});
    if (!answer) {
        return report(answer.error());
    }
    auto info = tls::inspect(*authority);
    json data = answer->body;
    data["authority_fingerprint"] = info ? info->fingerprint : "";
    print(context.format,
          data,
          {{},
           {{"token", data.value("token", "")},
            {"authority_fingerprint", data.value("authority_fingerprint", "")},
            {"expires", data.value("expires", "")}}});
    if (context.format == Format::table) {
        say("Put token and authority_fingerprint under `enrolment:` in the function's configuration. The token works "
            "once.");
    }
    return exit_done;
}

} // namespace

void add_function(Context& context) {
    auto options = std::make_shared<Options>();
    CLI::App* verb = context.app.add_subcommand(
        "function",
        "run a training function's agent, or manage functions\nExample: muster function --config gnb-1.yaml");
    verb->add_option("--config", options->config, "function.yaml of the agent to run");
    verb->add_flag("--check-config", options->check_only, "only check the configuration");
    verb->require_subcommand(0, 1);
    verb->callback([&context, options, verb] {
        if (verb->get_subcommands().empty()) {
            if (options->config.empty()) {
                throw CLI::RequiredError("--config");
            }
            context.action = [options] { return run(*options); };
        }
    });
    CLI::App* list_verb =
        verb->add_subcommand("list", "functions that the producer knows\nExample: muster function list");
    list_verb->callback([&context] { context.action = [&context] { return list(context); }; });
    CLI::App* enroll_verb = verb->add_subcommand("enroll",
                                                 "make a one-time token for a new function\nExample: muster function "
                                                 "enroll --dn SubNetwork=1,ManagedElement=gnb-1,MLTrainingFunction=1");
    enroll_verb->add_option("--dn", options->dn, "DN of the function")->required();
    enroll_verb->add_option("--hours", options->lifetime_hours, "how long the token is good")
        ->capture_default_str()
        ->check(CLI::Range(0.01, 168.0));
    enroll_verb->callback(
        [&context, options] { context.action = [&context, options] { return enroll(context, *options); }; });
}

} // namespace muster::app
