/// Times all_reduce (sum of f32) over mutual TLS on loopback, with ranks as threads of one process.
/// muster_collective_bench [ranks]: one JSON array of {case, value, unit}; value is the median of the rounds.
#include "collective/group_fixture.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>

namespace {

using namespace muster;
using namespace muster::collective;

constexpr std::size_t sizes[] = {4U << 10U, 16U << 10U, 64U << 10U, 256U << 10U, 1U << 20U, 4U << 20U, 25U << 20U};
constexpr int warm_up_rounds = 3;

double median(std::vector<double> values) {
    std::ranges::sort(values);
    return values[values.size() / 2];
}

/// CPU milliseconds of all threads of this process so far.
double cpu_now() {
    return static_cast<double>(std::clock()) * 1000.0 / CLOCKS_PER_SEC;
}

int rounds_for(std::size_t bytes) {
    return bytes <= 64U << 10U ? 200 : bytes <= 1U << 20U ? 50 : 11;
}

} // namespace

int main(int argc, char** argv) {
    const int ranks = argc > 1 ? std::atoi(argv[1]) : 2;
    if (ranks < 2 || ranks > 8) {
        std::fputs("usage: muster_collective_bench [2..8]\n", stderr);
        return 2;
    }
    std::string rows;
    test::run_ranks(ranks, [&](Group& group) {
        for (const auto bytes : sizes) {
            std::vector<float> data(bytes / sizeof(float), 1.0F);
            std::vector<double> times;
            double cpu_begin = 0;
            for (int round = -warm_up_rounds; round < rounds_for(bytes); ++round) {
                group.barrier();
                if (round == 0) {
                    cpu_begin = cpu_now();
                }
                const auto begin = std::chrono::steady_clock::now();
                group.all_reduce(std::as_writable_bytes(std::span{data}), ElementType::f32, ReduceOp::sum);
                const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - begin;
                if (round >= 0) {
                    times.push_back(time.count());
                }
            }
            if (group.rank() == 0) {
                const double cpu = (cpu_now() - cpu_begin) / rounds_for(bytes) / ranks;
                const auto row = [&](const char* what, double value) {
                    rows += fmt::format("{}\n  {{\"case\": \"all_reduce {} KiB, {} ranks, TLS, {}\", \"value\": "
                                        "{:.3f}, \"unit\": \"ms\"}}",
                                        rows.empty() ? "" : ",",
                                        bytes >> 10U,
                                        ranks,
                                        what,
                                        value);
                };
                row("median time", median(times));
                row("CPU of one rank", cpu);
            }
        }
    });
    std::printf("[%s\n]\n", rows.c_str());
    return 0;
}
