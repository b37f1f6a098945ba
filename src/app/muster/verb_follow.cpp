/// muster wait (for scripts) and watch (for people).
#include "app/muster/exit_code.h"
#include "app/muster/follow.h"
#include "app/muster/interrupt.h"
#include "app/muster/verbs.h"
#include "app/muster/with_client.h"

#include <fmt/format.h>

#include <memory>

namespace muster::app {
namespace {

struct Options {
    std::string id{};
    double timeout_seconds{86'400.0};
};

int run(Context& context, const Options& options, bool live) {
    catch_interrupts();
    return with_request(context, options.id, [&](Client& client, const std::string& dn) -> int {
        ProgressPrinter printer;
        const auto deadline = Deadline::after(
            std::chrono::duration_cast<Duration>(std::chrono::duration<double>{options.timeout_seconds}));
        auto view = follow(
            client,
            dn,
            deadline,
            [&](const JobView& seen) {
                if (live) {
                    printer.show(seen);
                }
            },
            interrupted);
        printer.finish();
        if (!view && interrupted()) {
            say(fmt::format("stopped watching; the job goes on. Come back with: muster watch {}", options.id));
            return exit_timeout;
        }
        if (!view) {
            return report(view.error());
        }
        print(context.format,
              {{"dn", dn}, {"status", view->status()}, {"info", view->words()}},
              {{}, {{"status", view->status()}, {"info", view->words()}}});
        return view->status() == "FINISHED" ? exit_done : exit_no_model;
    });
}

void add(Context& context, const char* name, const char* about, bool live) {
    auto options = std::make_shared<Options>();
    CLI::App* verb = context.app.add_subcommand(name, about);
    verb->add_option("id", options->id, "id or DN of the request")->required();
    verb->add_option("--timeout", options->timeout_seconds, "seconds to wait at most")
        ->capture_default_str()
        ->check(CLI::Range(0.0, 1e7));
    verb->callback([&context, options, live] {
        context.action = [&context, options, live] { return run(context, *options, live); };
    });
}

} // namespace

void add_follow(Context& context) {
    add(context, "wait", "wait until a request has ended, silently\nExample: muster wait t1 --timeout 600", false);
    add(context,
        "watch",
        "live progress until a request has ended; Ctrl-C ends only the watching\nExample: muster watch t1",
        true);
}

} // namespace muster::app
