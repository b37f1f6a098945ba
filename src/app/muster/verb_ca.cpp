/// muster ca init, issue: a certificate authority for those without one.
#include "app/muster/exit_code.h"
#include "app/muster/verbs.h"
#include "base/file.h"
#include "nrm/dn.h"
#include "tls/keys.h"

#include <fmt/format.h>

#include <filesystem>
#include <memory>

namespace muster::app {
namespace {

namespace fs = std::filesystem;

constexpr int root_days = 3650;
constexpr unsigned private_mode = 0600;

std::chrono::seconds days(int count) {
    return std::chrono::hours{24 * count};
}

struct Options {
    std::string folder{"ca"};
    std::string name{"Muster CA"};
    std::string consumer{};
    std::string producer{};
    std::string function{};
    std::vector<std::string> hosts{};
    std::string out{};
    int lifetime_days{90};
};

int init(const Options& options, Format format) {
    const fs::path folder = options.folder;
    if (fs::exists(folder / "ca.key")) {
        return report(
            {ErrorCode::conflict, fmt::format("{} holds a CA already; it is not overwritten", folder.string())});
    }
    fs::create_directories(folder);
    const tls::KeyPair root =
        tls::Authority::make_root(options.name, days(root_days), std::chrono::system_clock::now());
    for (auto written : {replace_file(folder / "ca.key", root.key.reveal(), private_mode),
                         replace_file(folder / "ca.pem", root.certificate)}) {
        if (!written) {
            return report(written.error());
        }
    }
    const auto info = tls::inspect(root.certificate);
    print(format,
          {{"certificate", (folder / "ca.pem").string()},
           {"key", (folder / "ca.key").string()},
           {"fingerprint", info->fingerprint}},
          {{},
           {{"certificate", (folder / "ca.pem").string()},
            {"private key", (folder / "ca.key").string() + "  (keep it off the network)"},
            {"fingerprint", info->fingerprint}}});
    return exit_done;
}

/// The SAN URI asked for, or an error when not exactly one kind was named.
Result<std::string> wanted_uri(const Options& options) {
    const int kinds = !options.consumer.empty() + !options.producer.empty() + !options.function.empty();
    if (kinds != 1) {
        return Error{ErrorCode::invalid_argument, "name exactly one of --consumer NAME, --producer DN, --function DN"};
    }
    if (!options.consumer.empty()) {
        return tls::consumer_uri(options.consumer);
    }
    const std::string& dn = options.producer.empty() ? options.function : options.producer;
    if (auto parsed = nrm::Dn::parse(dn); !parsed) {
        return std::move(parsed).error();
    }
    return options.producer.empty() ? tls::function_uri(dn) : tls::producer_uri(dn);
}

int issue(const Options& options, Format format) {
    auto uri = wanted_uri(options);
    auto certificate = read_file(fs::path{options.folder} / "ca.pem");
    auto key = read_file(fs::path{options.folder} / "ca.key");
    for (auto* part : {&uri, &certificate, &key}) {
        if (!*part) {
            return report(part->error());
        }
    }
    auto authority = tls::Authority::open({*certificate, Secret{*key}});
    if (!authority) {
        return report(authority.error());
    }
    auto pair = authority->issue({.uri = *uri, .hosts = options.hosts, .lifetime = days(options.lifetime_days)},
                                 std::chrono::system_clock::now());
    if (!pair) {
        return report(pair.error());
    }
    for (auto written : {replace_file(options.out + ".key", pair->key.reveal(), private_mode),
                         replace_file(options.out + ".pem", pair->certificate)}) {
        if (!written) {
            return report(written.error());
        }
    }
    print(format,
          {{"certificate", options.out + ".pem"}, {"key", options.out + ".key"}, {"identity", *uri}},
          {{}, {{"certificate", options.out + ".pem"}, {"private key", options.out + ".key"}, {"identity", *uri}}});
    return exit_done;
}

} // namespace

void add_ca(Context& context) {
    auto options = std::make_shared<Options>();
    CLI::App* verb =
        context.app.add_subcommand("ca", "a certificate authority for those without one, and who is let in no longer");
    verb->require_subcommand(1);
    CLI::App* make =
        verb->add_subcommand("init", "make a root certificate and its key\nExample: muster ca init --dir ca");
    make->add_option("--dir", options->folder, "folder to make it in")->capture_default_str();
    make->add_option("--name", options->name, "its common name")->capture_default_str();
    make->callback(
        [&context, options] { context.action = [&context, options] { return init(*options, context.format); }; });
    CLI::App* sign = verb->add_subcommand(
        "issue", "make a key and a certificate\nExample: muster ca issue --dir ca --consumer oss --out oss");
    sign->add_option("--dir", options->folder, "folder of the CA")->capture_default_str();
    sign->add_option("--consumer", options->consumer, "name of a consumer");
    sign->add_option("--producer", options->producer, "DN of a producer's MLTrainingFunction");
    sign->add_option(
        "--function", options->function, "DN of a training function (enrolment does this better: the key stays there)");
    sign->add_option("--host", options->hosts, "DNS name or IP address of a producer (may be repeated)");
    sign->add_option("--days", options->lifetime_days, "lifetime")
        ->capture_default_str()
        ->check(CLI::Range(1, root_days));
    sign->add_option("--out", options->out, "files to write: OUT.pem and OUT.key")->required();
    sign->callback(
        [&context, options] { context.action = [&context, options] { return issue(*options, context.format); }; });
    add_revocation(context, *verb);
}

} // namespace muster::app
