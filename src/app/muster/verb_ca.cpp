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
constexpr int job_ranks_max = 10'000;
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
    std::string job{};
    int ranks{};
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
    for (const auto& written : {replace_file(folder / "ca.key", root.key.reveal(), private_mode),
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

Result<tls::Authority> open_authority(const fs::path& folder) {
    auto certificate = read_file(folder / "ca.pem");
    auto key = read_file(folder / "ca.key");
    for (auto* part : {&certificate, &key}) {
        if (!*part) {
            return std::move(*part).error();
        }
    }
    return tls::Authority::open({*certificate, Secret{*key}});
}

/// Makes a key and its certificate as NAME.key and NAME.pem.
Result<void> write_pair(const tls::Authority& authority, const tls::CertificateSpec& spec, const std::string& name) {
    auto pair = authority.issue(spec, std::chrono::system_clock::now());
    if (!pair) {
        return std::move(pair).error();
    }
    if (auto written = replace_file(name + ".key", pair->key.reveal(), private_mode); !written) {
        return written;
    }
    return replace_file(name + ".pem", pair->certificate);
}

int issue(const Options& options, Format format) {
    auto uri = wanted_uri(options);
    if (!uri) {
        return report(uri.error());
    }
    auto authority = open_authority(options.folder);
    if (!authority) {
        return report(authority.error());
    }
    const tls::CertificateSpec spec{.uri = *uri, .hosts = options.hosts, .lifetime = days(options.lifetime_days)};
    if (auto written = write_pair(*authority, spec, options.out); !written) {
        return report(written.error());
    }
    print(format,
          {{"certificate", options.out + ".pem"}, {"key", options.out + ".key"}, {"identity", *uri}},
          {{}, {{"certificate", options.out + ".pem"}, {"private key", options.out + ".key"}, {"identity", *uri}}});
    return exit_done;
}

/// A CA for this job alone, whose key nobody keeps: its certificates open nothing else, and there can be no more of
/// them.
int issue_job(const Options& options, Format format) {
    const fs::path folder = options.out;
    if (fs::exists(folder / "ca.pem")) {
        return report(
            {ErrorCode::conflict, fmt::format("{} holds certificates already; name a new folder", options.out)});
    }
    fs::create_directories(folder);
    const auto lifetime = days(options.lifetime_days);
    auto authority = tls::Authority::open(
        tls::Authority::make_root("Muster job " + options.job, lifetime, std::chrono::system_clock::now()));
    if (!authority) {
        return report(authority.error());
    }
    if (auto written = replace_file(folder / "ca.pem", authority->certificate()); !written) {
        return report(written.error());
    }
    nlohmann::json identities = nlohmann::json::array();
    for (int rank = 0; rank < options.ranks; ++rank) {
        const auto name = fmt::format("rank-{}", rank);
        const tls::CertificateSpec spec{.uri = tls::job_uri(options.job, name), .lifetime = lifetime};
        if (auto written = write_pair(*authority, spec, (folder / name).string()); !written) {
            return report(written.error());
        }
        identities.push_back(spec.uri);
    }
    const auto files = fmt::format("rank-0 ... rank-{}, each .pem and .key", options.ranks - 1);
    print(
        format,
        {{"folder", folder.string()}, {"identities", identities}},
        {{},
         {{"folder", folder.string()},
          {"CA", "ca.pem  (its key was not kept)"},
          {"certificates", files},
          {"use",
           fmt::format("MUSTER_C10D_FOLDER={} torchrun --nproc-per-node {} SCRIPT", folder.string(), options.ranks)}}});
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
    CLI::App* job = verb->add_subcommand("issue-job",
                                         "make the certificates of a PyTorch job's ranks, by a CA of their own\n"
                                         "Example: muster ca issue-job demo --ranks 4 --out certificates");
    job->add_option("job", options->job, "name of the job")->required();
    job->add_option("--ranks", options->ranks, "how many")->required()->check(CLI::Range(1, job_ranks_max));
    job->add_option("--days", options->lifetime_days, "lifetime")
        ->capture_default_str()
        ->check(CLI::Range(1, root_days));
    job->add_option("--out", options->out, "folder to write: ca.pem, rank-N.pem, rank-N.key")->required();
    job->callback(
        [&context, options] { context.action = [&context, options] { return issue_job(*options, context.format); }; });
    add_revocation(context, *verb);
}

} // namespace muster::app
