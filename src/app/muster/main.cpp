#include "app/muster/exit_code.h"
#include "app/muster/verbs.h"

#include <algorithm>
#include <csignal>
#include <exception>
#include <string>
#include <vector>

namespace {

/// Says which verb was meant when the first word is none.
void hint_verb(const CLI::App& app, const std::vector<std::string>& words) {
    std::vector<std::string> verbs;
    for (const CLI::App* verb : app.get_subcommands({})) {
        verbs.push_back(verb->get_name());
    }
    const auto word = std::find_if(words.begin(), words.end(), [](const std::string& w) { return w.front() != '-'; });
    if (word != words.end() && std::find(verbs.begin(), verbs.end(), *word) == verbs.end()) {
        muster::app::say("error: " + muster::not_allowed("verb", *word, verbs).text());
    }
}

} // namespace

int main(int argc, char** argv) {
    using namespace muster::app; // NOLINT(google-build-using-namespace): main is the table of contents
    std::signal(SIGPIPE, SIG_IGN);
    Context context;
    context.app.require_subcommand(1);
    context.app.set_version_flag("--version", "muster 0.1.0");
    context.app.footer(
        "Example:\n  muster demo\n  muster submit -f ue-delay.request.yaml --token t1 && muster watch t1\n"
        "Exit codes: 0 done, 1 the job ended without a model, 2 cannot connect or not allowed, 3 timeout, 4 wrong "
        "input.");
    context.app.add_option("--client",
                           context.client_file,
                           "client file: server, certificate, key, authority (else $MUSTER_CLIENT, ./client.yaml, "
                           "~/.config/muster/client.yaml)");
    context.app.add_option("--output", context.format, "table, json or yaml; stdout holds only data")
        ->transform(CLI::CheckedTransformer(
            std::map<std::string, Format>{{"table", Format::table}, {"json", Format::json}, {"yaml", Format::yaml}}));
    context.app.fallthrough();

    add_demo(context);
    add_submit(context);
    add_plan(context);
    add_inspect(context);
    add_follow(context);
    add_cancel(context);
    add_recipe(context);
    add_data(context);
    add_model(context);
    add_producer(context);
    add_function(context);
    add_ca(context);
    add_doctor(context);
    add_bench(context);

    try {
        context.app.parse(argc, argv);
        return context.action();
    } catch (const CLI::ParseError& problem) {
        const int code = context.app.exit(problem);
        if (code != 0 && context.app.get_subcommands().empty()) {
            std::vector<std::string> words{argv + 1, argv + argc};
            std::erase(words, "");
            hint_verb(context.app, words);
        }
        return code == 0 ? exit_done : exit_wrong_input;
    } catch (const std::exception& problem) { // the last of the four boundaries: nobody above can decide
        say(std::string{"error: "} + problem.what());
        return exit_not_allowed;
    }
}
