#include "app/muster_worker/check_model.h"

#include "app/muster_worker/boxed.h"
#include "worker/sandbox_warm_up.h"
#include "worker/user_model.h"

#include <ATen/Functions.h>

#include <cstdlib>

namespace muster::app {
namespace {

struct Arguments {
    std::string model{};
    std::string number_type{};
    std::int64_t columns{0};
    std::int64_t tokens{0};
    std::int64_t outputs{0};
    BoxOptions box{};
};

/// Two made-up samples, unlike each other.
at::Tensor made_up_rows(const Arguments& arguments, const Recipe& recipe) {
    if (arguments.tokens > 0) {
        return at::arange(2 * arguments.tokens, at::kLong).remainder(arguments.outputs).reshape({2, arguments.tokens});
    }
    return at::arange(2 * arguments.columns, worker::scalar_type(recipe)).sin().reshape({2, arguments.columns});
}

/// The part of a recipe that the archive has to fit.
Recipe recipe_of(const Arguments& arguments, const worker::UserModelFacts& facts) {
    Recipe recipe;
    const std::string type = arguments.number_type.empty() ? facts.number_type : arguments.number_type;
    recipe.number_type = type == "fp64" ? NumberType::fp64 : NumberType::fp32;
    return recipe;
}

Result<nlohmann::json> check_model(const Arguments& arguments) {
    worker::settle_process();
    const auto archive = open_archive(arguments.model);
    if (!archive) {
        return archive.error();
    }
    if (auto closed = close_the_box(arguments.box); !closed) {
        return std::move(closed).error();
    }
    auto model = worker::UserModel::open(archive->get(), nullptr);
    if (!model) {
        return std::move(model).error();
    }
    const worker::UserModelFacts& facts = model->facts();
    const Recipe recipe = recipe_of(arguments, facts);
    if (auto fits = model->check_recipe(recipe); !fits) {
        return std::move(fits).error();
    }
    const bool probed = arguments.outputs > 0;
    if (probed) {
        if (auto done = model->probe(recipe, made_up_rows(arguments, recipe), arguments.outputs); !done) {
            return std::move(done).error();
        }
    }
    return nlohmann::json{{"parameters", facts.parameters},
                          {"bytes", facts.bytes},
                          {"blocks", facts.blocks},
                          {"no_chain", facts.no_chain},
                          {"number_type", facts.number_type},
                          {"operators", facts.operators},
                          {"probed", probed}};
}

} // namespace

int check_model_main(int argc, char** argv) {
    Arguments arguments;
    CLI::App program{"Checks a user's TorchScript archive", "muster-worker check-model"};
    program.add_option("--model", arguments.model, "archive")->required();
    program.add_option("--number-type", arguments.number_type, "that the recipe wants; else the archive's own")
        ->check(CLI::IsMember({"fp32", "fp64"}));
    auto* columns =
        program.add_option("--columns", arguments.columns, "encoded columns of a row")->check(CLI::Range{1, 1 << 24});
    auto* tokens =
        program.add_option("--tokens", arguments.tokens, "tokens of a sample")->check(CLI::Range{1, 1 << 24});
    auto* outputs = program.add_option("--outputs", arguments.outputs, "of each row or token; then it is run as well")
                        ->check(CLI::Range{1, 1 << 24});
    columns->excludes(tokens)->needs(outputs);
    tokens->needs(outputs);
    declare_box(program, arguments.box);
    CLI11_PARSE(program, argc, argv)
    if (arguments.outputs > 0 && arguments.columns == 0 && arguments.tokens == 0) {
        return program.exit(CLI::RequiredError{"--columns or --tokens"});
    }
    // Without destructors: what torch does at the end of a process is not for the box.
    std::_Exit(answer(arguments.box, [&arguments] { return check_model(arguments); }));
}

} // namespace muster::app
