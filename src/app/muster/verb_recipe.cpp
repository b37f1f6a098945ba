/// muster recipe: what can be trained, and how.
#include "app/muster/exit_code.h"
#include "app/muster/verbs.h"
#include "app/muster/with_client.h"
#include "wire/document.h"
#include "wire/recipe.h"

#include <memory>

namespace muster::app {
namespace {

using nlohmann::json;

Result<Recipe> read_recipe(const std::string& file) {
    auto document = wire::read_document(file);
    if (!document) {
        return std::move(document).error();
    }
    return wire::recipe_from_json(document->value, &document->places);
}

int check(Context& context, const std::string& file) {
    auto recipe = read_recipe(file);
    if (!recipe) {
        return report(recipe.error());
    }
    print(context.format,
          {{"name", recipe->name}, {"digest", recipe->digest}, {"recipe", wire::to_json(*recipe)}},
          {{},
           {{"name", recipe->name},
            {"inference", recipe->inference},
            {"model", wire::model_kind(*recipe)},
            {"digest", recipe->digest}}});
    return exit_done;
}

int add(Context& context, const std::string& file) {
    auto recipe = read_recipe(file);
    if (!recipe) {
        return report(recipe.error());
    }
    return with_client(context, [&](Client& client) -> int {
        auto answer = client.call("POST", "/muster/v1/recipes", wire::to_json(*recipe));
        if (!answer) {
            return report(answer.error());
        }
        print(context.format, answer->body, {{}, {{"added", recipe->name}, {"digest", recipe->digest}}});
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

} // namespace

void add_recipe(Context& context) {
    auto file = std::make_shared<std::string>();
    CLI::App* verb = context.app.add_subcommand("recipe", "what can be trained, and how");
    verb->require_subcommand(1);
    CLI::App* add_verb =
        verb->add_subcommand("add", "add a recipe to the producer\nExample: muster recipe add recipes/ue-delay.yaml");
    add_verb->add_option("file", *file, "recipe, YAML or JSON")->required();
    add_verb->callback([&context, file] { context.action = [&context, file] { return add(context, *file); }; });
    CLI::App* check_verb = verb->add_subcommand(
        "check", "check a recipe file without a producer\nExample: muster recipe check recipes/ue-delay.yaml");
    check_verb->add_option("file", *file, "recipe, YAML or JSON")->required();
    check_verb->callback([&context, file] { context.action = [&context, file] { return check(context, *file); }; });
    CLI::App* list_verb = verb->add_subcommand("list", "recipes of the producer");
    list_verb->callback([&context] { context.action = [&context] { return list(context); }; });
}

} // namespace muster::app
