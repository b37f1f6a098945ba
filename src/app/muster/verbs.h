/// The verbs of the command line. Each adds itself to the parser and leaves what to run in `action`.
#pragma once

#include "app/muster/output.h"

#include <CLI/CLI.hpp>

#include <functional>
#include <string>

namespace muster::app {

/// What all verbs share.
struct Context {
    CLI::App app{"Muster: ML training management for 5G networks (3GPP TS 28.105)", "muster"};
    Format format{Format::table};
    std::string client_file{};
    std::function<int()> action{}; ///< set by the verb that was chosen; returns the exit code
};

void add_ca(Context& context);
void add_revocation(Context& context, CLI::App& ca); ///< ca revoke, restore, revocations; add_ca calls it
void add_producer(Context& context);
void add_function(Context& context);
void add_recipe(Context& context);
void add_data(Context& context);
void add_plan(Context& context);
void add_submit(Context& context);
void add_inspect(Context& context); ///< list, show, logs, report
void add_follow(Context& context);  ///< wait, watch
void add_cancel(Context& context);
void add_model(Context& context);
void add_model_export(Context& context, CLI::App& model); ///< model export; add_model calls it
void add_doctor(Context& context);
void add_demo(Context& context);
void add_bench(Context& context);

} // namespace muster::app
