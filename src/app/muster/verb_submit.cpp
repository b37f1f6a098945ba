/// muster submit, plan, cancel: a consumer's orders.
#include "app/muster/client.h"
#include "app/muster/exit_code.h"
#include "app/muster/plan_table.h"
#include "app/muster/verbs.h"
#include "app/muster/with_client.h"
#include "base/id.h"

#include <fmt/format.h>

#include <memory>

namespace muster::app {
namespace {

struct Options {
    std::string file{};
    std::string token{};
    std::string function{default_function};
    std::string id{};
};

int submit(Context& context, const Options& options) {
    auto attributes = read_request(options.file);
    if (!attributes) {
        return report(attributes.error());
    }
    return with_client(context, [&](Client& client) -> int {
        const std::string id = options.token.empty() ? "r-" + random_hex(6) : options.token;
        const std::string dn = options.function + ",MLTrainingRequest=" + id;
        const nlohmann::json body{{"id", id}, {"objectClass", "MLTrainingRequest"}, {"attributes", *attributes}};
        auto answer = client.call("PUT", path_of(dn), body);
        if (!answer) {
            // The same token for the same content is the same request, even when it has ended: a success for scripts.
            if (answer.error().code == ErrorCode::conflict && !options.token.empty() &&
                answer.error().message.find("same content") != std::string::npos) {
                say(answer.error().message);
                print(context.format, {{"id", id}, {"dn", dn}, {"repeated", true}}, {{}, {{"request", dn}}});
                return exit_done;
            }
            return report(answer.error());
        }
        print(context.format,
              {{"id", id}, {"dn", dn}, {"repeated", answer->status != 201}},
              {{}, {{"request", dn}, {"follow it", "muster watch " + id}}});
        return exit_done;
    });
}

int plan(Context& context, const Options& options) {
    auto attributes = read_request(options.file);
    if (!attributes) {
        return report(attributes.error());
    }
    return with_client(context, [&](Client& client) -> int {
        auto answer = client.call("POST", "/muster/v1/plan", nlohmann::json{{"attributes", *attributes}});
        if (!answer) {
            return report(answer.error());
        }
        print(context.format, answer->body, plan_table(answer->body));
        if (context.format == Format::table) {
            say(plan_words(answer->body));
        }
        return exit_done;
    });
}

int cancel(Context& context, const Options& options) {
    return with_request(context, options.id, [&](Client& client, const std::string& dn) -> int {
        const std::string id = dn.substr(dn.rfind('=') + 1);
        auto answer = client.call("PATCH",
                                  path_of(dn),
                                  nlohmann::json{{"id", id}, {"attributes", {{"cancelRequest", true}}}},
                                  "application/merge-patch+json");
        if (!answer) {
            return report(answer.error());
        }
        print(context.format, {{"dn", dn}, {"cancelling", true}}, {{}, {{"request", dn}, {"status", "cancelling"}}});
        return exit_done;
    });
}

} // namespace

void add_submit(Context& context) {
    auto options = std::make_shared<Options>();
    CLI::App* verb = context.app.add_subcommand("submit",
                                                "create an MLTrainingRequest from a file of its attributes\nExample: "
                                                "muster submit -f ue-delay.request.yaml --token t1");
    verb->add_option("-f,--file", options->file, "request file, YAML or JSON")->required();
    verb->add_option("--token", options->token, "id of the request: repeating the command with it never trains twice");
    verb->add_option("--function", options->function, "DN of the MLTrainingFunction to create it under")
        ->capture_default_str();
    verb->callback([&context, options] { context.action = [&context, options] { return submit(context, *options); }; });
}

void add_plan(Context& context) {
    auto options = std::make_shared<Options>();
    CLI::App* verb = context.app.add_subcommand(
        "plan", "evaluate a request without training\nExample: muster plan -f ue-delay.request.yaml");
    verb->add_option("-f,--file", options->file, "request file, YAML or JSON")->required();
    verb->callback([&context, options] { context.action = [&context, options] { return plan(context, *options); }; });
}

void add_cancel(Context& context) {
    auto options = std::make_shared<Options>();
    CLI::App* verb = context.app.add_subcommand("cancel", "cancel a request\nExample: muster cancel t1");
    verb->add_option("id", options->id, "id or DN of the request")->required();
    verb->callback([&context, options] { context.action = [&context, options] { return cancel(context, *options); }; });
}

} // namespace muster::app
