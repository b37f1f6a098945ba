/// muster ca revoke, restore, revocations: who is no longer let in by the producer.
#include "app/muster/exit_code.h"
#include "app/muster/verbs.h"
#include "app/muster/with_client.h"
#include "base/file.h"
#include "link/url.h"
#include "nrm/dn.h"
#include "tls/keys.h"

#include <fmt/format.h>

#include <filesystem>
#include <memory>

namespace muster::app {
namespace {

using nlohmann::json;

constexpr const char* revocations_path = "/muster/v1/revocations";

struct Options {
    std::string who{};
    std::string reason{};
};

/// "identity:<SAN>" or "serial:<hex>" for what a person writes: an identity, a function's DN, a serial number, or the
/// file of a certificate.
Result<std::string> subject_of(const std::string& who) {
    if (who.starts_with("identity:") || who.starts_with("serial:")) {
        return who;
    }
    if (who.find_first_not_of("0123456789abcdefABCDEF:") == std::string::npos && !who.empty()) {
        return "serial:" + who;
    }
    if (const auto dn = nrm::Dn::parse(who)) {
        return "identity:" + tls::function_uri(dn->text());
    }
    if (who.find(':') != std::string::npos) {
        return "identity:" + who;
    }
    auto text = read_file(who);
    if (!text) {
        return Error{ErrorCode::invalid_argument,
                     "\"" + who +
                         "\" is no identity (muster://..., DNS:...), DN of a function, serial number, or file of a "
                         "certificate"};
    }
    auto certificate = tls::inspect(*text);
    return certificate ? Result<std::string>{"serial:" + certificate->serial} : std::move(certificate).error();
}

/// Sends PUT or DELETE for the subject and prints what stands now.
int order(const Context& context, const Options& options, const char* method, const std::optional<json>& body) {
    const auto subject = subject_of(options.who);
    if (!subject) {
        return report(subject.error());
    }
    return with_client(context, [&](Client& client) -> int {
        auto answer = client.call(method, fmt::format("{}/{}", revocations_path, link::percent_encode(*subject)), body);
        if (!answer) {
            return report(answer.error());
        }
        const json standing = answer->body.is_object() ? answer->body : json{{"subject", *subject}};
        Table table{{}, {{answer->body.is_object() ? "revoked" : "restored", *subject}}};
        for (const char* name : {"reason", "by", "time"}) {
            if (standing.contains(name)) {
                table.rows.push_back({name, standing.value(name, "")});
            }
        }
        print(context.format, standing, table);
        return exit_done;
    });
}

int list(const Context& context) {
    return with_client(context, [&](Client& client) -> int {
        auto answer = client.call("GET", revocations_path);
        if (!answer) {
            return report(answer.error());
        }
        Table table{{"REVOKED", "REASON", "BY", "TIME"}, {}};
        for (const json& one : answer->body) {
            table.rows.push_back(
                {one.value("subject", ""), one.value("reason", ""), one.value("by", ""), one.value("time", "")});
        }
        print(context.format, answer->body, table);
        return exit_done;
    });
}

} // namespace

void add_revocation(Context& context, CLI::App& ca) {
    constexpr const char* who =
        "identity (muster://..., DNS:...), DN of a function, serial number, or file of a certificate";
    auto options = std::make_shared<Options>();
    CLI::App* revoke = ca.add_subcommand("revoke",
                                         "let an identity or a certificate in no longer, and end its connections\n"
                                         "Example: muster ca revoke muster://consumer/oss --reason \"laptop lost\"");
    revoke->add_option("who", options->who, who)->required();
    revoke->add_option("--reason", options->reason, "why; whoever is refused reads it")->required();
    revoke->callback([&context, options] {
        context.action = [&context, options] {
            return order(context, *options, "PUT", json{{"reason", options->reason}});
        };
    });
    CLI::App* restore =
        ca.add_subcommand("restore", "take a revocation back\nExample: muster ca restore muster://consumer/oss");
    restore->add_option("who", options->who, who)->required();
    restore->callback([&context, options] {
        context.action = [&context, options] { return order(context, *options, "DELETE", std::nullopt); };
    });
    CLI::App* revocations =
        ca.add_subcommand("revocations", "who is let in no longer\nExample: muster ca revocations --output json");
    revocations->callback([&context] { context.action = [&context] { return list(context); }; });
}

} // namespace muster::app
