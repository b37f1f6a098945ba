/// muster doctor: a preflight; each failure comes with its remedy.
#include "app/muster/exit_code.h"
#include "app/muster/programs.h"
#include "app/muster/request_file.h"
#include "app/muster/verbs.h"
#include "base/file.h"
#include "function/cgroup.h"
#include "tls/keys.h"

#include <fmt/format.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <optional>

namespace muster::app {
namespace {

using nlohmann::json;

constexpr auto expiry_warning = std::chrono::hours{24 * 7};

struct Finding {
    std::string what;
    enum class State { good, note, bad } state{State::good};
    std::string words;
    std::string remedy{};
};

Finding program(const std::string& name) {
    auto path = sibling(name);
    return path ? Finding{name, Finding::State::good, path->string()}
                : Finding{name, Finding::State::bad, path.error().message, "./run build"};
}

Finding landlock() {
    constexpr long landlock_create_ruleset = 444;
    const long abi = ::syscall(landlock_create_ruleset, nullptr, 0, 1U /* version */);
    if (abi < 1) {
        return {"landlock",
                Finding::State::bad,
                "the kernel does not offer it",
                "boot with lsm=landlock,... or allow it by name: isolation.allow_missing: [landlock]"};
    }
    return {"landlock", Finding::State::good, fmt::format("ABI {}", abi)};
}

Finding cgroup() {
    auto made = function::Cgroup::create(fmt::format("muster-doctor-{}", ::getpid()),
                                         {.cpu_cores = 0.5, .memory_bytes = 64 << 20});
    return made ? Finding{"control groups", Finding::State::good, "CPU and memory limits can be set"}
                : Finding{"control groups",
                          Finding::State::note,
                          made.error().message,
                          "delegate a control group to this user; without it workers run unlimited"};
}

Finding certificate(const std::filesystem::path& file) {
    auto text = read_file(file);
    auto info = text ? tls::inspect(*text) : Result<tls::CertificateInfo>{text.error()};
    if (!info) {
        return {"certificate", Finding::State::bad, info.error().text(), "check the paths in the client file"};
    }
    const auto now = std::chrono::system_clock::now();
    if (now >= info->not_after) {
        return {"certificate",
                Finding::State::bad,
                fmt::format("{} expired at {}", info->identity.uri, rfc3339(info->not_after)),
                "issue a new one: muster ca issue"};
    }
    if (now < info->not_before) {
        return {"certificate",
                Finding::State::bad,
                fmt::format("{} is not valid before {}", info->identity.uri, rfc3339(info->not_before)),
                "set this machine's clock"};
    }
    const bool soon = info->not_after - now < expiry_warning;
    return {"certificate",
            soon ? Finding::State::note : Finding::State::good,
            fmt::format("{} until {}", info->identity.uri, rfc3339(info->not_after)),
            soon ? "issue a new one soon: muster ca issue" : ""};
}

void check_producer(Context& context, std::vector<Finding>& findings) {
    auto settings = load_client(context.client_file);
    if (!settings) {
        findings.push_back(
            {"client file", Finding::State::note, settings.error().text(), "needed to talk to a producer"});
        return;
    }
    findings.push_back(certificate(settings->certificate));
    auto client = Client::open(*settings);
    if (!client) {
        findings.push_back({"client file", Finding::State::bad, client.error().text(), "check the client file"});
        return;
    }
    client->set_timeout(std::chrono::seconds{5});
    auto ready = client->call("GET", "/readyz");
    findings.push_back(
        ready ? Finding{"producer", Finding::State::good, settings->server + " is ready"}
              : Finding{"producer", Finding::State::bad, ready.error().text(), "is the producer running? see its log"});
    auto functions = client->call("GET", "/muster/v1/functions");
    if (functions && functions->body.is_array()) {
        std::size_t connected = 0;
        for (const json& one : functions->body) {
            connected += one.value("connected", false) ? 1 : 0;
        }
        findings.push_back({"functions",
                            connected > 0 ? Finding::State::good : Finding::State::note,
                            fmt::format("{} known, {} connected", functions->body.size(), connected),
                            connected > 0 ? "" : "start some: muster function --config FILE"});
    }
}

int doctor(Context& context) {
    std::vector<Finding> findings{program("muster-worker"), program("muster-data"), landlock(), cgroup()};
    check_producer(context, findings);
    json data = json::array();
    Table table{{"CHECK", "", "FOUND", "REMEDY"}, {}};
    bool bad = false;
    for (const Finding& finding : findings) {
        const char* state = finding.state == Finding::State::good   ? "ok"
                            : finding.state == Finding::State::note ? "note"
                                                                    : "BAD";
        bad = bad || finding.state == Finding::State::bad;
        data.push_back(
            {{"check", finding.what}, {"state", state}, {"found", finding.words}, {"remedy", finding.remedy}});
        table.rows.push_back({finding.what, state, finding.words, finding.remedy});
    }
    print(context.format, data, table);
    return bad ? exit_not_allowed : exit_done;
}

} // namespace

void add_doctor(Context& context) {
    CLI::App* verb = context.app.add_subcommand(
        "doctor", "check this machine and the way to the producer, with remedies\nExample: muster doctor");
    verb->callback([&context] { context.action = [&context] { return doctor(context); }; });
}

} // namespace muster::app
