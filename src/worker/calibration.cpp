#include "worker/calibration.h"

#include "worker/block_costs.h"
#include "worker/compute_device.h"
#include "worker/program.h"
#include "worker/ranks.h"
#include "worker/sampler.h"
#include "worker/step.h"

#include <ATen/Functions.h>
#include <sys/resource.h>

#include <algorithm>
#include <vector>

namespace muster::worker {
namespace {

constexpr std::int64_t small_bytes = 4096;
constexpr double link_repeats_max = 2'000;
constexpr std::int64_t batch_rows_max = 1 << 24;
/// A prediction of memory is right to a tenth.
constexpr double memory_used_part = 0.9;

/// Steps of one batch size until `deadline`: warm-up, then timed ones, at least one.
double step_seconds(TrainingStep& step,
                    const Matrix& matrix,
                    std::span<const std::int64_t> rows,
                    const CalibrationSettings& settings,
                    Deadline deadline) {
    const auto batch = std::ssize(rows);
    double first = 0.0; // counts only when there is no time for a second
    for (int i = 0; i < settings.warm_up_steps && (i == 0 || !deadline.passed()); ++i) {
        first = step.run(matrix, rows, batch, false).compute_seconds;
    }
    // The mean over many steps, not their median: a CPU quota lets most short steps run at full speed and stops few.
    const SteadyTime begin = std::chrono::steady_clock::now();
    double total = 0.0;
    int timed = 0;
    while (!deadline.passed() &&
           (timed < settings.timed_steps || std::chrono::steady_clock::now() - begin < settings.timed_min)) {
        total += step.run(matrix, rows, batch, false).compute_seconds;
        ++timed;
    }
    return timed == 0 ? first : total / timed;
}

/// What one all-reduce costs.
struct AllReduceCost {
    double seconds{};     ///< mean, the slowest rank counting
    double cpu_seconds{}; ///< mean, of this process
};

/// `count` rows, or samples of a text, from the first on and again from there; none, where there is none.
std::vector<std::int64_t> some_rows(const Recipe& recipe, const Matrix& matrix, std::int64_t count) {
    if (recipe.data.windows) {
        const std::vector<std::int64_t> all = split_windows(matrix.target.values(), window_rows(recipe), 0.0).training;
        std::vector<std::int64_t> ends;
        for (std::int64_t i = 0; i < count && !all.empty(); ++i) {
            ends.push_back(all[static_cast<std::size_t>(i) % all.size()]);
        }
        return ends;
    }
    const std::int64_t step = recipe.data.text ? recipe.data.text->sequence : 1;
    const std::int64_t distinct = matrix.rows / step;
    std::vector<std::int64_t> rows;
    for (std::int64_t i = 0; i < count && distinct > 0; ++i) {
        rows.push_back(i % distinct * step);
    }
    return rows;
}

double cpu_seconds() {
    struct rusage usage {};
    ::getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](const timeval& time) {
        return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
    };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

AllReduceCost all_reduce_cost(Ranks& ranks, std::int64_t bytes, const CalibrationSettings& settings) {
    const at::Tensor data = at::zeros({std::max<std::int64_t>(1, bytes / 4)}, at::kFloat);
    const at::Tensor seconds = at::zeros({1}, at::kDouble);
    const auto once = [&] {
        const SteadyTime begin = std::chrono::steady_clock::now();
        ranks.sum(data);
        return seconds_between(begin, std::chrono::steady_clock::now());
    };
    const auto agreed = [&](double own) {
        seconds.fill_(own);
        ranks.largest(seconds);
        return seconds.item<double>();
    };
    ranks.sum(seconds); // all begin together: calibrating steps takes each rank its own time
    const double first = agreed(once());
    // As with steps, the mean over a time that holds many periods of a CPU quota; all ranks make the same number.
    const double wanted = std::chrono::duration<double>(settings.timed_min).count();
    const double limit = std::chrono::duration<double>(settings.link_limit).count();
    const double about = std::max(agreed(once()), 1e-6);
    const double number = std::min(std::max(wanted / about, static_cast<double>(settings.timed_steps)),
                                   std::max(1.0, limit / std::max(first, about)));
    const auto timed = static_cast<int>(std::min(number, link_repeats_max));
    const SteadyTime begin = std::chrono::steady_clock::now();
    const double cpu_begin = cpu_seconds();
    for (int i = 0; i < timed; ++i) {
        ranks.sum(data);
    }
    const double cpu = cpu_seconds() - cpu_begin;
    return {agreed(seconds_between(begin, std::chrono::steady_clock::now())) / timed, cpu / timed};
}

/// How many of the ascending sizes the whole model may be run at.
std::size_t
fitting_sizes(const Calibration& calibration, std::span<const std::int64_t> sizes, std::int64_t memory_bytes_max) {
    const auto limit = static_cast<std::int64_t>(memory_used_part * static_cast<double>(memory_bytes_max));
    const auto fits = [&](std::int64_t size) {
        return memory_bytes_max <= 0 || whole_memory_bytes(calibration, size) <= limit;
    };
    return static_cast<std::size_t>(std::ranges::find_if_not(sizes, fits) - sizes.begin());
}

/// Steps of the whole model at ascending sizes; memory after the smallest and after the largest.
void time_steps(ModelProgram& program,
                const Recipe& recipe,
                const Preprocessing& preprocessing,
                const Matrix& matrix,
                std::span<const std::int64_t> sizes,
                std::span<const std::int64_t> rows,
                const CalibrationSettings& settings,
                Calibration& calibration) {
    Ranks alone{{}, {sizes.back()}};
    const SteadyTime begin = std::chrono::steady_clock::now();
    TrainingStep step{program, recipe, preprocessing, alone, sizes.back(), 1};
    double rows_left = 0.0;
    for (const std::int64_t size : sizes) {
        rows_left += static_cast<double>(size);
    }
    for (const std::int64_t size : sizes) {
        // Each size gets the part of the remaining time that its rows are of the remaining rows.
        const Duration left = settings.steps_limit - (std::chrono::steady_clock::now() - begin);
        const auto part = std::chrono::duration_cast<Duration>(left * (static_cast<double>(size) / rows_left));
        rows_left -= static_cast<double>(size);
        const auto used = rows.first(static_cast<std::size_t>(size));
        calibration.steps.push_back({size, step_seconds(step, matrix, used, settings, Deadline::after(part))});
        if (size == sizes.front() || size == sizes.back()) {
            calibration.memory.push_back({size, peak_memory_bytes(program.device())});
        }
    }
}

} // namespace

Result<Calibration> measure_steps(const Recipe& recipe,
                                  const Preprocessing& preprocessing,
                                  const Matrix& matrix,
                                  std::span<const std::int64_t> batches,
                                  const CalibrationSettings& settings) {
    std::vector<std::int64_t> sizes{batches.begin(), batches.end()};
    std::ranges::sort(sizes);
    if (sizes.empty() || sizes.front() < 1 || sizes.back() > batch_rows_max || matrix.rows < 1) {
        return Error{ErrorCode::invalid_argument, "batch sizes to measure must be 1 to 16777216 rows", "batches"};
    }
    const std::vector<std::int64_t> rows = some_rows(recipe, matrix, sizes.back());
    if (rows.empty()) {
        return recipe.data.text
                   ? Error{ErrorCode::invalid_argument, "the text is shorter than one sequence", "/data/text/sequence"}
                   : Error{ErrorCode::invalid_argument, "no row ends a window", "/data/windows/length"};
    }
    const auto shapes = parameter_shapes(recipe, preprocessing, {}, settings.user_model, processor_of(settings.device));
    if (!shapes) {
        return shapes.error();
    }
    Calibration calibration;
    calibration.parameter_bytes = elements_of(*shapes) * number_bytes(recipe);
    std::size_t fitting = sizes.size();
    if (block_count(recipe) > 0) {
        calibration.micro_rows = micro_rows_of(recipe);
        calibration.base_bytes = peak_memory_bytes();
        const std::int64_t left = settings.memory_bytes_max - calibration.base_bytes;
        auto blocks =
            measure_blocks(recipe,
                           preprocessing,
                           matrix,
                           {.memory_bytes_max = settings.memory_bytes_max > 0 ? std::max<std::int64_t>(1, left) : 0,
                            .user_model = settings.user_model});
        if (!blocks) {
            return std::move(blocks).error();
        }
        calibration.blocks = std::move(*blocks);
        // Nobody will train the whole of it: then nobody has to hold it.
        const bool only_stages = recipe.distribution.strategy == DistributionKind::pipeline;
        fitting = only_stages ? 0 : fitting_sizes(calibration, sizes, settings.memory_bytes_max);
    }
    if (fitting > 0) {
        auto program = ModelProgram::build(recipe, preprocessing, {}, settings.user_model, settings.device);
        if (!program) {
            return std::move(program).error();
        }
        time_steps(
            *program, recipe, preprocessing, matrix, std::span{sizes}.first(fitting), rows, settings, calibration);
    }
    for (const std::int64_t size : std::span{sizes}.subspan(fitting)) {
        calibration.steps.push_back({size, whole_step_seconds(calibration, size)});
    }
    for (const std::int64_t size : {sizes.front(), sizes.back()}) {
        const bool measured =
            std::ranges::find(calibration.memory, size, &PeakMemory::batch) != calibration.memory.end();
        if (!measured) {
            calibration.memory.push_back({size, whole_memory_bytes(calibration, size)});
        }
    }
    return calibration;
}

void measure_link(const c10::intrusive_ptr<c10d::ProcessGroup>& group,
                  Calibration& calibration,
                  const CalibrationSettings& settings) {
    if (!group || group->getSize() == 1) {
        return;
    }
    const auto size = static_cast<double>(group->getSize());
    Ranks ranks{group, std::vector<std::int64_t>(static_cast<std::size_t>(group->getSize()), 1)};
    const std::int64_t large = std::clamp(calibration.parameter_bytes, small_bytes, settings.link_bytes_max);
    const double small_seconds = all_reduce_cost(ranks, small_bytes, settings).seconds;
    const auto [large_seconds, large_cpu_seconds] = all_reduce_cost(ranks, large, settings);
    calibration.latency_seconds = small_seconds;
    // Latency is not bandwidth; but a difference within the noise must not become an endless one.
    const double transfer = std::max(large_seconds - small_seconds, 0.1 * large_seconds);
    calibration.link_cpu_seconds_per_byte = large_cpu_seconds / static_cast<double>(large);
    calibration.bytes_per_second = 2.0 * (size - 1.0) / size * static_cast<double>(large) / transfer;
}

std::int64_t peak_memory_bytes(c10::Device device) {
    struct rusage usage {};
    ::getrusage(RUSAGE_SELF, &usage);
    return std::max(static_cast<std::int64_t>(usage.ru_maxrss) * 1024, device_peak_bytes(device));
}

} // namespace muster::worker
