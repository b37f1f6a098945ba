#include "app/muster/demo_site.h"

#include "app/muster/programs.h"
#include "base/file.h"
#include "tls/keys.h"
#include "wire/document.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <fstream>
#include <thread>

namespace muster::app {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr auto start_timeout = std::chrono::seconds{20};
constexpr auto poll_interval = std::chrono::milliseconds{50};
constexpr auto day = std::chrono::hours{24};
constexpr unsigned private_mode = 0600;

// Names as an operator would choose them; more functions than names are numbered.
const std::vector<std::string> site_names{"nwdaf-1", "gnb-2", "gnb-1"};

std::string site_name(std::size_t index) {
    return index < site_names.size() ? site_names[index] : fmt::format("gnb-{}", index);
}

Result<void> write(const fs::path& file, const std::string& text, unsigned mode = 0644) {
    return replace_file(file, text, mode);
}

std::string tail(const fs::path& file) {
    auto text = read_file(file);
    constexpr std::size_t last = 800;
    return !text ? std::string{} : text->size() > last ? text->substr(text->size() - last) : *text;
}

Result<function::ChildProcess> start_program(const fs::path& log, std::vector<std::string> arguments) {
    const UniqueFd errors{::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)};
    return function::ChildProcess::start(
        {.program = own_program(), .arguments = std::move(arguments), .errors = errors.get(), .end_with_parent = true});
}

/// Asks `done` until it is true. Errors: deadline_exceeded.
Result<void>
wait_until(const std::string& what, const std::function<bool()>& stop, const std::function<Result<bool>()>& done) {
    const auto deadline = Deadline::after(start_timeout);
    for (;;) {
        auto now = done();
        if (!now) {
            return std::move(now).error();
        }
        if (*now) {
            return {};
        }
        if (stop()) {
            return Error{ErrorCode::deadline_exceeded, "interrupted"};
        }
        if (deadline.passed()) {
            return Error{ErrorCode::deadline_exceeded, what + " took too long"};
        }
        std::this_thread::sleep_for(poll_interval); // another process is asked again, it does not call
    }
}

} // namespace

Result<void> DemoSite::make_keys(const DemoSettings& settings) {
    const auto now = std::chrono::system_clock::now();
    const tls::KeyPair root = tls::Authority::make_root("Muster demo CA", day, now);
    auto authority = tls::Authority::open(root);
    if (!authority) {
        return std::move(authority).error();
    }
    auto producer = authority->issue(
        {.uri = tls::producer_uri("SubNetwork=1,MLTrainingFunction=mlt"), .hosts = {"127.0.0.1"}, .lifetime = day},
        now);
    auto consumer = authority->issue({.uri = tls::consumer_uri("demo"), .lifetime = day}, now);
    for (auto* pair : {&producer, &consumer}) {
        if (!*pair) {
            return std::move(*pair).error();
        }
    }
    fingerprint_ = tls::inspect(root.certificate)->fingerprint;
    const fs::path& folder = settings.folder;
    for (auto written : {write(folder / "ca.pem", root.certificate),
                         write(folder / "ca.key", root.key.reveal(), private_mode),
                         write(folder / "producer.pem", producer->certificate),
                         write(folder / "producer.key", producer->key.reveal(), private_mode),
                         write(folder / "consumer.pem", consumer->certificate),
                         write(folder / "consumer.key", consumer->key.reveal(), private_mode)}) {
        if (!written) {
            return written;
        }
    }
    return {};
}

Result<void> DemoSite::start_producer(const DemoSettings& settings, const std::function<bool()>& stop) {
    const fs::path& folder = settings.folder;
    const json policy{
        {"rules",
         {{{"who", "muster://consumer/demo"},
           {"may", {"create", "read", "update", "delete", "subscribe", "recipe", "model_download", "plan", "admin"}},
           {"on", "SubNetwork=1"}}}}};
    const json config{
        {"listen", {{"address", "127.0.0.1"}, {"port", 0}}},
        {"state", (folder / "producer").string()},
        {"credentials", {{"certificate", "producer.pem"}, {"key", "producer.key"}, {"authority", "ca.pem"}}},
        {"enrolment", {{"certificate", "ca.pem"}, {"key", "ca.key"}}},
        {"policy", "policy.yaml"}};
    for (auto written : {write(folder / "policy.yaml", wire::to_yaml(policy)),
                         write(folder / "producer.yaml", wire::to_yaml(config))}) {
        if (!written) {
            return written;
        }
    }
    auto child = start_program(folder / "producer.log", {"producer", "--config", (folder / "producer.yaml").string()});
    if (!child) {
        return std::move(child).error();
    }
    producer_ = std::move(*child);
    auto started = wait_until("starting the producer", stop, [&]() -> Result<bool> {
        if (producer_->wait(Deadline::after(Duration::zero()))) {
            return Error{ErrorCode::unavailable, "the producer ended: " + tail(folder / "producer.log")};
        }
        auto text = read_file(folder / "producer" / "address");
        if (text) {
            address_ = *text;
        }
        return text.ok();
    });
    if (!started) {
        return started;
    }
    client_file_ = folder / "client.yaml";
    const json client{
        {"server", address_}, {"certificate", "consumer.pem"}, {"key", "consumer.key"}, {"authority", "ca.pem"}};
    if (auto written = write(client_file_, wire::to_yaml(client)); !written) {
        return written;
    }
    auto settings_of_client = load_client(client_file_.string());
    if (!settings_of_client) {
        return std::move(settings_of_client).error();
    }
    auto opened = Client::open(*settings_of_client);
    if (!opened) {
        return std::move(opened).error();
    }
    client_.emplace(std::move(*opened));
    return {};
}

Result<void> DemoSite::start_function(const DemoSettings& settings, std::size_t index) {
    const std::string name = site_name(index);
    const std::string dn = fmt::format("SubNetwork=1,ManagedElement={},MLTrainingFunction=1", name);
    auto token = client_->call("POST", "/muster/v1/tokens", json{{"dn", dn}});
    if (!token) {
        return std::move(token).error();
    }
    const json config{
        {"dn", dn},
        {"producer", address_},
        {"state", (settings.folder / name).string()},
        {"enrolment", {{"token", token->body.value("token", "")}, {"authority_fingerprint", fingerprint_}}},
        {"capacity", {{"cpu_cores", settings.cores[index]}, {"bandwidth_mbit", 1000}}},
        {"data",
         {{{"name", "ue-delay/train"}, {"file", (settings.example / "train.csv.gz").string()}, {"may_leave", false}},
          {{"name", "ue-delay/test"}, {"file", (settings.example / "test.csv.gz").string()}, {"may_leave", false}}}}};
    const fs::path file = settings.folder / (name + ".yaml");
    if (auto written = write(file, wire::to_yaml(config), private_mode); !written) {
        return written;
    }
    auto child = start_program(settings.folder / (name + ".log"), {"function", "--config", file.string()});
    if (!child) {
        return std::move(child).error();
    }
    functions_.push_back(std::move(*child));
    return {};
}

Result<void> DemoSite::wait_connected(std::size_t count, const std::function<bool()>& stop) {
    return wait_until("connecting the functions", stop, [&]() -> Result<bool> {
        auto answer = client_->call("GET", "/muster/v1/functions");
        if (!answer) {
            return std::move(answer).error();
        }
        std::size_t connected = 0;
        for (const json& one : answer->body) {
            connected += one.value("connected", false) ? 1 : 0;
        }
        return connected >= count;
    });
}

Result<DemoSite> DemoSite::start(const DemoSettings& settings, const std::function<bool()>& stop) {
    DemoSite site;
    if (auto made = site.make_keys(settings); !made) {
        return std::move(made).error().within("keys");
    }
    if (auto started = site.start_producer(settings, stop); !started) {
        return std::move(started).error();
    }
    for (std::size_t i = 0; i < settings.cores.size(); ++i) {
        if (auto started = site.start_function(settings, i); !started) {
            return std::move(started).error();
        }
    }
    if (auto connected = site.wait_connected(settings.cores.size(), stop); !connected) {
        return std::move(connected).error();
    }
    return site;
}

} // namespace muster::app
