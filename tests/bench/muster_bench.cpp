/// muster-bench bare|trainer|group|equality --matrix FOLDER --recipe FILE, muster-bench trees --table FILE,
/// muster-bench ship|tls --bytes N: one measurement, one JSON line.
#include "base/file.h"
#include "bench_loops.h"
#include "bench_ship.h"
#include "bench_trees.h"
#include "wire/document.h"
#include "wire/preprocessing.h"
#include "wire/recipe.h"
#include "worker/program.h"
#include "worker/sandbox_warm_up.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <numeric>

namespace {

using namespace muster;
using nlohmann::json;

struct Arguments {
    std::string what;
    std::string matrix;
    std::string recipe;
    std::vector<std::int64_t> hidden;
    std::int64_t batch{1024};
    std::vector<std::int64_t> shares; ///< of group; default: two equal ones
    bench::Length length;
    int threads{1};
    bench::TreeTask trees;
    std::int64_t bytes{500'000'000}; ///< that are sent
    std::string folder{"."};         ///< where shipped bytes land
};

template <typename T>
T value_of(Result<T> result) {
    if (!result) {
        throw std::runtime_error{result.error().text()};
    }
    return std::move(*result);
}

bench::Problem load(const Arguments& arguments) {
    bench::Problem problem;
    problem.recipe = value_of(wire::recipe_from_json(value_of(wire::read_document(arguments.recipe)).value));
    problem.recipe.model.hidden = arguments.hidden;
    problem.recipe.batch = arguments.batch;
    const json described = json::parse(value_of(read_file(arguments.matrix + "/matrix.json")));
    const MatrixInfo info = value_of(wire::matrix_info_from_json(described.at("info")));
    problem.preprocessing = value_of(wire::preprocessing_from_json(described.at("preprocessing")));
    problem.matrices = value_of(worker::open_matrices(arguments.matrix, info));
    return problem;
}

json measure(const Arguments& arguments) {
    if (arguments.what == "trees") {
        return bench::time_trees(arguments.trees);
    }
    if (arguments.what == "ship") {
        return bench::time_shipment(arguments.bytes, arguments.folder);
    }
    if (arguments.what == "tls") {
        return bench::time_bare_tls(arguments.bytes, arguments.folder);
    }
    bench::Problem problem = load(arguments);
    const std::int64_t batch = problem.recipe.batch;
    const auto rate = [&](double seconds) {
        return json{{"rows_per_second", static_cast<double>(arguments.length.steps * batch) / seconds}};
    };
    if (arguments.what == "group") {
        auto shares = arguments.shares;
        if (shares.empty()) {
            shares = {batch - batch / 2, batch / 2};
        }
        return rate(bench::group_seconds(problem, arguments.length, std::move(shares), arguments.threads));
    }
    worker::settle_process();
    worker::prepare_thread(arguments.threads);
    if (arguments.what == "bare") {
        return rate(bench::bare_seconds(problem, arguments.length));
    }
    if (arguments.what == "trainer") {
        return rate(bench::trainer_seconds(problem, arguments.length));
    }
    problem.recipe.number_type = NumberType::fp64;
    const std::int64_t quarter = batch / 4;
    return {{"largest_relative_difference",
             bench::largest_difference(
                 problem,
                 arguments.length.steps,
                 {{batch - quarter, quarter}, {batch - quarter - 7, quarter, 7}, {batch - 1, 0, 1}})}};
}

} // namespace

int main(int argc, char** argv) {
    CLI::App program{"Times parts of Muster; tests/bench/bench.py starts it."};
    Arguments arguments;
    program.add_option("what", arguments.what)
        ->required()
        ->check(CLI::IsMember({"bare", "trainer", "group", "equality", "trees", "ship", "tls"}));
    program.add_option("--matrix", arguments.matrix, "folder that muster-data left");
    program.add_option("--recipe", arguments.recipe, "recipe; its model and batch are replaced");
    program.add_option("--hidden", arguments.hidden, "units of each hidden layer")->delimiter(',');
    program.add_option("--batch", arguments.batch, "rows of a step, over all functions");
    program.add_option("--shares", arguments.shares, "rows of each function")->delimiter(',');
    program.add_option("--warm-up", arguments.length.warm_up, "steps before the timed ones");
    program.add_option("--steps", arguments.length.steps, "timed steps");
    program.add_option("--threads", arguments.threads, "of each process");
    program.add_option("--table", arguments.trees.file, "of trees: float32 [rows, columns + 1], the target last");
    program.add_option("--columns", arguments.trees.columns, "of trees: inputs");
    program.add_option("--members", arguments.trees.members, "of trees: over mutual TLS, one thread each");
    program.add_option("--trees", arguments.trees.trees, "of trees: timed ones");
    program.add_option("--bytes", arguments.bytes, "of ship and tls: bytes that are sent");
    program.add_option("--folder", arguments.folder, "of ship and tls: where they land; tls without: nowhere");
    CLI11_PARSE(program, argc, argv);
    try {
        fmt::print("{}\n", measure(arguments).dump());
        return 0;
    } catch (const std::exception& error) { // the last boundary
        fmt::print(stderr, "muster-bench: {}\n", error.what());
        return 1;
    }
}
