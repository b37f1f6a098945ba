/// muster bench: what collectives over mutual TLS take, on this host or between hosts.
#include "app/muster/bench_group.h"
#include "app/muster/bench_operation.h"
#include "app/muster/bench_rank.h"
#include "app/muster/exit_code.h"
#include "app/muster/interrupt.h"
#include "app/muster/programs.h"
#include "app/muster/verbs.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>
#include <sstream>

namespace muster::app {
namespace {

using nlohmann::json;

constexpr std::uint64_t kibi = 1024;
constexpr std::uint64_t mebi = kibi * 1024;
constexpr std::uint64_t bytes_max = mebi * 1024 * 16;
constexpr int ranks_max = 32;
constexpr int stripes_max = 16;
constexpr int rounds_max = 100'000;

struct Options {
    int ranks{2};
    std::vector<std::string> places{};
    std::vector<std::string> operations{"all_reduce"};
    std::vector<std::uint64_t> sizes{4 * kibi, 64 * kibi, mebi, 25 * mebi};
    int rounds{0};
    int warm_up{3};
    int rebuilds{3};
    int timeout_seconds{60};
    std::uint64_t segment_bytes{0};
    std::uint64_t small_bytes_max{0};
    bool small_is_set{false};
    int stripes{0};
};

struct Found {
    BenchCase wanted;
    BenchFigures figures;
};

/// Sizes are whole numbers of elements (f32).
std::string whole_elements(const std::string& bytes) {
    return std::stoull(bytes) % sizeof(float) == 0 ? "" : bytes + " is not a whole number of 4-byte elements";
}

/// HOST or HOST=COMMAND. Errors: invalid_argument.
Result<BenchPlace> parse_place(const std::string& text) {
    const auto sign = text.find('=');
    BenchPlace place{text.substr(0, sign), {own_program().string()}};
    if (sign != std::string::npos) {
        std::istringstream words{text.substr(sign + 1)};
        place.command.assign(std::istream_iterator<std::string>{words}, {});
    }
    if (place.host.empty() || place.command.empty()) {
        return Error{
            ErrorCode::invalid_argument, fmt::format("\"{}\" is neither HOST nor HOST=COMMAND", text), "--rank"};
    }
    return place;
}

Result<std::vector<BenchPlace>> places_of(const Options& options) {
    std::vector<BenchPlace> places;
    for (const std::string& text : options.places) {
        auto place = parse_place(text);
        if (!place) {
            return std::move(place).error();
        }
        places.push_back(std::move(*place));
    }
    if (places.empty()) {
        places.assign(static_cast<std::size_t>(options.ranks), {"127.0.0.1", {own_program().string()}});
    }
    if (places.size() < 2) {
        return Error{
            ErrorCode::invalid_argument, "one rank has nobody to talk to: give --rank twice or more", "--rank"};
    }
    return places;
}

int rounds_for(std::uint64_t bytes) {
    return bytes <= 64 * kibi ? 200 : bytes <= 4 * mebi ? 50 : bytes <= 32 * mebi ? 11 : 5;
}

std::vector<BenchCase> cases_of(const Options& options) {
    std::vector<BenchCase> cases;
    for (const std::string& operation : options.operations) {
        const bool has_data = operation != "barrier";
        for (const std::uint64_t bytes : has_data ? options.sizes : std::vector<std::uint64_t>{0}) {
            cases.push_back(
                {operation, bytes, options.rounds > 0 ? options.rounds : rounds_for(bytes), options.warm_up});
        }
    }
    return cases;
}

/// Comparable between operations and numbers of ranks.
double bus_bytes_per_second(const Found& found, std::size_t ranks) {
    return bus_share(found.wanted.operation, ranks) * static_cast<double>(found.wanted.bytes) /
           (found.figures.p50_ms * 1e-3);
}

std::string size_text(std::uint64_t bytes) {
    return bytes == 0          ? "-"
           : bytes % mebi == 0 ? fmt::format("{} MiB", bytes / mebi)
           : bytes % kibi == 0 ? fmt::format("{} KiB", bytes / kibi)
                               : fmt::format("{} B", bytes);
}

std::string time_text(double milliseconds) {
    return fmt::format("{:.{}f} ms", milliseconds, milliseconds < 10 ? 3 : 1);
}

json to_json(const Found& found, std::size_t ranks) {
    return {{"operation", found.wanted.operation},
            {"bytes", found.wanted.bytes},
            {"rounds", found.wanted.rounds},
            {"p50_ms", found.figures.p50_ms},
            {"p95_ms", found.figures.p95_ms},
            {"min_ms", found.figures.min_ms},
            {"bus_bytes_per_second", bus_bytes_per_second(found, ranks)},
            {"cpu_ms", found.figures.cpu_ms},
            {"bytes_sent", found.figures.bytes_sent},
            {"bytes_received", found.figures.bytes_received}};
}

std::vector<std::string> to_row(const Found& found, std::size_t ranks) {
    return {found.wanted.operation,
            size_text(found.wanted.bytes),
            std::to_string(found.wanted.rounds),
            time_text(found.figures.p50_ms),
            time_text(found.figures.p95_ms),
            bytes_text(bus_bytes_per_second(found, ranks)) + "/s",
            time_text(found.figures.cpu_ms),
            bytes_text(static_cast<double>(found.figures.bytes_sent))};
}

int fail(const Error& error) {
    return interrupted() ? exit_timeout : report(error);
}

/// The times of joining: first from nothing, then each next generation.
Result<std::vector<double>> join(BenchGroup& group, int rebuilds) {
    std::vector<double> times;
    for (int i = 0; i <= rebuilds; ++i) {
        auto seconds = group.connect();
        if (!seconds) {
            return std::move(seconds).error();
        }
        times.push_back(*seconds * 1e3);
    }
    return times;
}

int collectives(const Options& options, Format format) {
    catch_interrupts();
    auto places = places_of(options);
    if (!places) {
        return report(places.error());
    }
    const auto cases = cases_of(options);
    BenchSettings settings{.operation_timeout = std::chrono::seconds{options.timeout_seconds}};
    if (options.segment_bytes > 0) {
        settings.segment_bytes = options.segment_bytes;
    }
    if (options.small_is_set) {
        settings.small_bytes_max = options.small_bytes_max;
    }
    if (options.stripes > 0) {
        settings.stripes = options.stripes;
    }
    auto group = BenchGroup::start(*places, cases, settings);
    if (!group) {
        return fail(group.error());
    }
    auto joined = join(*group, options.rebuilds);
    if (!joined) {
        return fail(joined.error());
    }
    std::vector<Found> all;
    for (const BenchCase& wanted : cases) {
        auto figures = group->measure(wanted);
        if (!figures) {
            return fail(figures.error());
        }
        all.push_back({wanted, *figures});
    }
    auto memory = group->memory_bytes();
    if (!memory) {
        return fail(memory.error());
    }
    const std::vector<double> rebuilds{joined->begin() + 1, joined->end()};
    json data{{"ranks", places->size()},
              {"cipher", group->cipher()},
              {"set_up_ms", joined->front()},
              {"rebuild_ms", rebuilds},
              {"memory_bytes", *memory},
              {"cases", json::array()}};
    Table table{{"OPERATION", "SIZE", "ROUNDS", "P50", "P95", "BUS", "CPU A RANK", "SENT A RANK"}, {}};
    for (const Found& found : all) {
        data["cases"].push_back(to_json(found, places->size()));
        table.rows.push_back(to_row(found, places->size()));
    }
    print(format, data, table);
    if (format == Format::table) {
        std::string text =
            fmt::format("{} ranks, {}\nset-up {}", places->size(), group->cipher(), time_text(joined->front()));
        if (!rebuilds.empty()) {
            text += fmt::format(", of another generation {} at most", time_text(std::ranges::max(rebuilds)));
        }
        text +=
            fmt::format("\nmemory of a rank beyond the caller's buffer {}", bytes_text(static_cast<double>(*memory)));
        say(text);
    }
    return exit_done;
}

int rank() {
    return run_bench_rank([](collective::GroupSpec spec, int listener, Deadline deadline) {
        const auto dialer = collective::tcp_dialer();
        return collective::Group::connect(std::move(spec), listener, *dialer, deadline);
    });
}

void add_collectives(CLI::App& bench, Context& context) {
    auto options = std::make_shared<Options>();
    CLI::App* verb = bench.add_subcommand(
        "collectives",
        "times collectives between processes over mutual TLS, with a CA and certificates made for it and thrown away\n"
        "Example: muster bench collectives --ranks 4 --sizes 4KiB,1MiB\n"
        "         muster bench collectives --rank 10.0.0.1 --rank '10.0.0.2=ssh site2 muster'");
    auto* ranks = verb->add_option("--ranks", options->ranks, "processes on this host")
                      ->capture_default_str()
                      ->check(CLI::Range(2, ranks_max));
    verb->add_option(
            "--rank",
            options->places,
            "instead of --ranks, for each rank: HOST or HOST=COMMAND, the address it listens on and what starts "
            "muster there (words between blanks)")
        ->excludes(ranks);
    verb->add_option("--operations", options->operations, fmt::format("of {}", fmt::join(bench_operations(), ", ")))
        ->delimiter(',')
        ->check(CLI::IsMember(bench_operations()))
        ->capture_default_str();
    verb->add_option("--sizes", options->sizes, "bytes that each rank shares or exchanges: 4096, 4KiB, 25MiB")
        ->delimiter(',')
        ->transform(CLI::AsSizeValue(false))
        ->check(CLI::Range(std::uint64_t{4}, bytes_max))
        ->check(CLI::Validator{whole_elements, ""})
        ->default_str("4KiB,64KiB,1MiB,25MiB");
    verb->add_option("--rounds", options->rounds, "measured calls for each case (by size: 200 to 5)")
        ->check(CLI::Range(1, rounds_max));
    verb->add_option("--warm-up", options->warm_up, "calls before them")
        ->capture_default_str()
        ->check(CLI::Range(0, rounds_max));
    verb->add_option("--rebuilds", options->rebuilds, "how often the group is made anew, with new certificates")
        ->capture_default_str()
        ->check(CLI::Range(0, rounds_max));
    verb->add_option("--timeout", options->timeout_seconds, "seconds for each collective and for joining")
        ->capture_default_str()
        ->check(CLI::Range(1, 3600));
    verb->add_option(
            "--segment", options->segment_bytes, "bytes that travel the ring at a time (the engine's own choice)")
        ->transform(CLI::AsSizeValue(false))
        ->check(CLI::Range(4 * kibi, 16 * mebi));
    verb->add_option("--stripes", options->stripes, "connections of each pair of ranks (the engine's own choice)")
        ->check(CLI::Range(1, stripes_max));
    auto* small = verb->add_option("--small",
                                   options->small_bytes_max,
                                   "largest size that is exchanged directly instead of "
                                   "in a ring (the engine's own choice)")
                      ->transform(CLI::AsSizeValue(false));
    verb->callback([&context, options, small] {
        options->small_is_set = small->count() > 0;
        context.action = [&context, options] { return collectives(*options, context.format); };
    });
}

} // namespace

void add_bench(Context& context) {
    CLI::App* bench = context.app.add_subcommand("bench", "measure this machine and its links");
    bench->require_subcommand(1);
    add_collectives(*bench, context);
    CLI::App* one = bench->add_subcommand("rank", "one rank of a bench; takes orders on stdin")->group("");
    one->callback([&context] { context.action = rank; });
}

} // namespace muster::app
