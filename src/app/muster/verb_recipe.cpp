/// muster recipe: what can be trained, and how.
#include "app/muster/data_program.h"
#include "app/muster/exit_code.h"
#include "app/muster/recipe_data_check.h"
#include "app/muster/recipe_file.h"
#include "app/muster/recipe_proposal.h"
#include "app/muster/verbs.h"
#include "app/muster/with_client.h"
#include "link/url.h"
#include "wire/document.h"
#include "wire/recipe.h"

#include <fmt/format.h>

#include <memory>
#include <string>
#include <vector>

namespace muster::app {
namespace {

using nlohmann::json;

struct Options {
    std::string file{};
    std::string data{};
    std::string target{};
    std::string name{};
    std::vector<std::string> allow_missing{};
};

/// What people want to know of a recipe, and of the archive it brings.
std::vector<std::vector<std::string>> facts_of(const RecipeFile& file) {
    std::vector<std::vector<std::string>> facts{{"name", file.recipe.name},
                                                {"inference", file.recipe.inference},
                                                {"model", wire::model_kind(file.recipe)},
                                                {"digest", file.recipe.digest}};
    if (file.archive) {
        const ArchiveFacts& archive = file.facts;
        facts.push_back({"archive", file.archive->string()});
        facts.push_back({"parameters", std::to_string(archive.parameters)});
        facts.push_back({"blocks",
                         archive.blocks > 0 ? fmt::format("{}, may be cut into stages", archive.blocks)
                                            : "cannot be cut into stages: " + archive.no_chain});
        facts.push_back({"operators", fmt::format("{}, all allowed", archive.operators)});
        facts.push_back({"run on two rows", archive.probed ? "yes" : "no: give --data FILE"});
    }
    return facts;
}

json archive_json(const RecipeFile& file) {
    return {{"file", file.archive->string()},
            {"parameters", file.facts.parameters},
            {"blocks", file.facts.blocks},
            {"no_chain", file.facts.no_chain},
            {"operators", file.facts.operators},
            {"probed", file.facts.probed}};
}

/// Says all that is wrong with the recipe for this data. Returns whether it may be used.
Result<bool> check_data(const Options& options, const Recipe& recipe) {
    const auto document = wire::read_document(options.file);
    const auto found =
        document ? inspect_data(options.data, recipe.data.csv, recipe.data.target) : Result<json>{document.error()};
    if (!found) {
        return found.error();
    }
    const DataCheck checked = check_against_data(recipe, *found, document->places);
    for (const Error& problem : checked.problems) {
        say("error: " + problem.text());
    }
    for (const std::string& warning : checked.warnings) {
        say("warning: " + warning);
    }
    return checked.problems.empty();
}

int check(Context& context, const Options& options) {
    auto file = read_recipe_file(options.file, options.allow_missing);
    if (!file) {
        return report(file.error());
    }
    if (!options.data.empty() && !file->recipe.data.text) {
        const auto fits = check_data(options, file->recipe);
        if (!fits) {
            return report(fits.error());
        }
        if (!*fits) {
            return exit_wrong_input;
        }
    }
    if (!options.data.empty()) {
        if (auto probed = probe_archive(*file, options.data, options.allow_missing); !probed) {
            return report(probed.error());
        }
    }
    json answer{{"name", file->recipe.name}, {"digest", file->recipe.digest}, {"recipe", wire::to_json(file->recipe)}};
    if (file->archive) {
        answer["archive"] = archive_json(*file);
    }
    print(context.format, answer, {{}, facts_of(*file)});
    return exit_done;
}

/// Prints a recipe for a source, to go on from.
int propose(const Options& options) {
    const auto found = inspect_data(options.data, {}, options.target);
    if (!found) {
        return report(found.error());
    }
    const auto proposal = propose_recipe(*found, options.data, options.target);
    if (!proposal) {
        return report(proposal.error());
    }
    fmt::print("{}", *proposal);
    return exit_done;
}

int add(Context& context, const Options& options) {
    auto file = read_recipe_file(options.file, options.allow_missing);
    if (!file) {
        return report(file.error());
    }
    const Recipe& recipe = file->recipe;
    return with_client(context, [&](Client& client) -> int {
        if (file->archive) {
            if (auto sent = client.upload(*file->archive, recipe.model.archive->sha256); !sent) {
                return report(std::move(sent).error().within("upload " + file->archive->string()));
            }
        }
        auto answer = client.call("POST", "/muster/v1/recipes", wire::to_json(recipe));
        if (!answer) {
            return report(answer.error());
        }
        print(context.format, answer->body, {{}, {{"added", recipe.name}, {"digest", recipe.digest}}});
        return exit_done;
    });
}

int list(Context& context) {
    return with_client(context, [&](Client& client) -> int {
        auto answer = client.call("GET", "/muster/v1/recipes");
        if (!answer) {
            return report(answer.error());
        }
        Table table{{"RECIPE", "INFERENCE", "DIGEST"}, {}};
        for (const json& recipe : answer->body) {
            table.rows.push_back(
                {recipe.value("name", ""), recipe.value("inference", ""), recipe.value("digest", "").substr(0, 16)});
        }
        print(context.format, answer->body, table);
        return exit_done;
    });
}

/// Prints a recipe as it may be written to a file and added again; as JSON, with who added it and when.
int show(Context& context, const Options& options) {
    return with_client(context, [&](Client& client) -> int {
        auto answer = client.call("GET", "/muster/v1/recipes/" + link::percent_encode(options.name));
        if (!answer) {
            return report(answer.error());
        }
        if (context.format == Format::json) {
            print(context.format, answer->body, {});
            return exit_done;
        }
        if (context.format == Format::table) {
            fmt::print("# {}@{}, added by {}\n",
                       answer->body.value("name", ""),
                       answer->body.value("digest", ""),
                       answer->body.value("added_by", ""));
        }
        fmt::print("{}", wire::to_yaml(answer->body.at("recipe")));
        return exit_done;
    });
}

void declare_isolation(CLI::App& verb, Options& options) {
    verb.add_option("--allow-missing-isolation",
                    options.allow_missing,
                    "look at an archive although the kernel lacks these: landlock, seccomp")
        ->delimiter(',');
}

} // namespace

void add_recipe(Context& context) {
    auto options = std::make_shared<Options>();
    CLI::App* verb = context.app.add_subcommand("recipe", "what can be trained, and how");
    verb->require_subcommand(1);
    CLI::App* add_verb =
        verb->add_subcommand("add", "add a recipe to the producer\nExample: muster recipe add recipes/ue-delay.yaml");
    add_verb->add_option("file", options->file, "recipe, YAML or JSON")->required();
    declare_isolation(*add_verb, *options);
    add_verb->callback(
        [&context, options] { context.action = [&context, options] { return add(context, *options); }; });
    CLI::App* check_verb = verb->add_subcommand(
        "check", "check a recipe file without a producer\nExample: muster recipe check recipes/ue-delay.yaml");
    check_verb->add_option("file", options->file, "recipe, YAML or JSON")->required();
    check_verb->add_option(
        "--data",
        options->data,
        "its source, a file or a folder: every problem is named; a model that you bring is run on two rows");
    declare_isolation(*check_verb, *options);
    check_verb->callback(
        [&context, options] { context.action = [&context, options] { return check(context, *options); }; });
    CLI::App* from_verb = verb->add_subcommand(
        "from",
        "propose a recipe for a file\nExample: muster recipe from data/train.csv.gz --target delay_ms > ue-delay.yaml");
    from_verb->add_option("data", options->data, "a table: CSV, Parquet, Arrow IPC, or a folder of them")->required();
    from_verb->add_option("--target", options->target, "column to predict; not said: the last one that can be");
    from_verb->callback([&context, options] { context.action = [options] { return propose(*options); }; });
    CLI::App* show_verb = verb->add_subcommand(
        "show",
        "a recipe of the producer, to be read or changed\nExample: muster recipe show ue-delay > ue-delay.yaml");
    show_verb->add_option("name", options->name, "its name, or name@digest")->required();
    show_verb->callback(
        [&context, options] { context.action = [&context, options] { return show(context, *options); }; });
    CLI::App* list_verb = verb->add_subcommand("list", "recipes of the producer");
    list_verb->callback([&context] { context.action = [&context] { return list(context); }; });
}

} // namespace muster::app
