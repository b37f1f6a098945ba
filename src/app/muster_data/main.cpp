/// muster-data: encodes a source for training, once, without network. See data/prepare.h.
#include "base/file.h"
#include "data/gather.h"
#include "data/inspect.h"
#include "data/prepare.h"
#include "sandbox.h"
#include "wire/preprocessing.h"
#include "wire/recipe.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <csignal>
#include <exception>
#include <iostream>
#include <new>
#include <string_view>

namespace {

/// Both kinds of failure print one line of JSON to stdout, so that whoever started the program need not read stderr.
constexpr int exit_done = 0;
constexpr int exit_broken = 1;      ///< the machine's fault: disk, memory, lock
constexpr int exit_wrong_input = 4; ///< the same input will be wrong again

struct Arguments {
    std::string request;
    std::string cache;
    std::string inspect;   ///< in place of both
    std::string csv{"{}"}; ///< JSON as data.csv of a recipe
    std::string target;
    std::uint64_t memory_bytes{4ULL << 30U};
    muster::data::Settings settings;
};

int fail(const muster::Error& error) {
    const nlohmann::json line{{"error",
                               {{"code", muster::name_of(error.code)},
                                {"message", error.message},
                                {"where", error.where},
                                {"allowed", error.allowed},
                                {"nearest", error.nearest}}}};
    // A cell quoted in an error may be cut or no UTF-8.
    std::cout << line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << std::endl;
    const bool environment =
        error.code == muster::ErrorCode::unavailable || error.code == muster::ErrorCode::deadline_exceeded;
    return environment ? exit_broken : exit_wrong_input;
}

/// Arrow aborts where it cannot report that memory ran out: whoever started the program still gets one line.
void on_abort(int /*signal*/) {
    constexpr std::string_view line =
        R"({"error":{"code":"resource_exhausted","message":"stopped in the middle, see stderr; most often memory ran out: )"
        R"(raise --memory-limit","where":"--memory-limit","allowed":[],"nearest":""}})"
        "\n";
    (void)!::write(STDOUT_FILENO, line.data(), line.size()); // nobody is left to tell when this fails
    ::_exit(exit_broken);
}

muster::Result<nlohmann::json> inspect(const Arguments& arguments) {
    const auto csv = muster::wire::csv_from_json(nlohmann::json::parse(arguments.csv, nullptr, false));
    if (!csv) {
        return csv.error();
    }
    if (auto confined = muster::app::confine(arguments.memory_bytes); !confined) {
        return std::move(confined).error();
    }
    return muster::data::inspect(arguments.inspect, *csv, arguments.target, arguments.settings);
}

/// The line for stdout.
muster::Result<nlohmann::json> run(const Arguments& arguments) {
    const auto text = muster::read_file(arguments.request);
    if (!text) {
        return text.error();
    }
    const auto json = nlohmann::json::parse(*text, nullptr, false);
    if (json.is_discarded()) {
        return muster::Error{muster::ErrorCode::invalid_argument, "the request is not JSON", arguments.request};
    }
    const auto request = muster::data::data_request_from_json(json);
    if (!request) {
        return request.error();
    }
    if (auto confined = muster::app::confine(arguments.memory_bytes); !confined) {
        return std::move(confined).error();
    }
    if (request->group_rows_min > 0) {
        const auto statistics =
            muster::data::gather(request->train, request->recipe, request->group_rows_min, arguments.settings);
        if (!statistics) {
            return statistics.error();
        }
        return nlohmann::json{{"statistics", muster::wire::to_json(*statistics)}};
    }
    const auto published = muster::data::prepare(*request, arguments.cache, arguments.settings);
    if (!published) {
        return published.error();
    }
    return nlohmann::json{{"folder", published->folder.string()}, {"info", muster::wire::to_json(published->info)}};
}

} // namespace

int main(int argc, char** argv) {
    Arguments arguments;
    CLI::App program{"Encodes a CSV source for training. Example:\n"
                     "  muster-data --request request.json --cache /var/lib/muster/matrices"};
    program.add_option("--request",
                       arguments.request,
                       "JSON file: {\"train\": path, \"test\": path or null, \"recipe\": {...}}; see api/matrix.md");
    program.add_option("--cache", arguments.cache, "folder of encoded matrices");
    program.add_option("--inspect", arguments.inspect, "a source to look at, in place of --request and --cache");
    program.add_option("--csv", arguments.csv, "with --inspect: JSON as data.csv of a recipe");
    program.add_option("--target", arguments.target, "with --inspect: the column that the others are compared with");
    program.add_option("--memory-limit", arguments.memory_bytes, "bytes of memory this program may use")
        ->capture_default_str();
    program.add_option("--characters-max", arguments.settings.characters_max, "different characters of a text")
        ->check(CLI::Range(1, 1 << 21));
    program.add_option("--categories-max", arguments.settings.categories_max, "different values of a category column")
        ->capture_default_str();
    program
        .add_option("--counted-max",
                    arguments.settings.counted_max,
                    "different values of a column that are counted to find the most frequent ones")
        ->check(CLI::Range{1, 100'000'000});
    program.add_option("--source-bytes-max", arguments.settings.source_bytes_max, "bytes of a source, uncompressed")
        ->capture_default_str();
    program
        .add_option("--matrix-bytes-max", arguments.settings.matrix_bytes_max, "bytes of encoded features of a source")
        ->capture_default_str();
    program
        .add_option("--cache-bytes-max",
                    arguments.settings.cache_bytes_max,
                    "bytes of all matrices in the cache; the longest unused go first")
        ->capture_default_str()
        ->check(CLI::NonNegativeNumber);
    program
        .add_option(
            "--lock-wait-seconds", arguments.settings.lock_wait_seconds, "for another that writes to the same cache")
        ->capture_default_str()
        ->check(CLI::NonNegativeNumber);
    CLI11_PARSE(program, argc, argv);
    if (arguments.inspect.empty() && (arguments.request.empty() || arguments.cache.empty())) {
        std::cerr << "muster-data needs --request and --cache, or --inspect; see --help\n";
        return exit_wrong_input;
    }
    std::signal(SIGABRT, on_abort);
    try {
        if (!arguments.inspect.empty()) {
            const auto found = inspect(arguments);
            if (!found) {
                return fail(found.error());
            }
            std::cout << found->dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << std::endl;
            return exit_done;
        }
        const auto line = run(arguments);
        if (!line) {
            return fail(line.error());
        }
        std::cout << line->dump() << std::endl;
        return exit_done;
    } catch (const std::bad_alloc&) {
        return fail({muster::ErrorCode::resource_exhausted, "memory ran out; raise --memory-limit", "--memory-limit"});
    } catch (const std::exception& failure) {
        return fail({muster::ErrorCode::unavailable, failure.what()});
    }
}
