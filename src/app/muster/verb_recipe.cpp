/// muster recipe: what can be trained, and how.
#include "app/muster/exit_code.h"
#include "app/muster/recipe_file.h"
#include "app/muster/verbs.h"
#include "app/muster/with_client.h"
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

int check(Context& context, const Options& options) {
    auto file = read_recipe_file(options.file, options.allow_missing);
    if (!file) {
        return report(file.error());
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
    check_verb->add_option("--data", options->data, "a file of its source: a model that you bring is run on two rows");
    declare_isolation(*check_verb, *options);
    check_verb->callback(
        [&context, options] { context.action = [&context, options] { return check(context, *options); }; });
    CLI::App* list_verb = verb->add_subcommand("list", "recipes of the producer");
    list_verb->callback([&context] { context.action = [&context] { return list(context); }; });
}

} // namespace muster::app
