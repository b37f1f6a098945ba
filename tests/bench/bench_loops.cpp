#include "bench_loops.h"

#include "process_group/backend.h"
#include "process_group/loopback_groups.h"
#include "worker/loss.h"
#include "worker/optimizer.h"
#include "worker/program.h"
#include "worker/sandbox_warm_up.h"
#include "worker/trainer.h"

#include <ATen/Functions.h>
#include <ATen/TensorIndexing.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <stdexcept>

namespace muster::bench {
namespace {

constexpr std::int64_t endless_epochs = 1'000'000; // the stop ends the training, never the last epoch
constexpr auto join_wait_max = std::chrono::seconds{30};
constexpr auto operation_timeout = std::chrono::seconds{60};

worker::ModelProgram build(const Problem& problem) {
    auto program = worker::ModelProgram::build(problem.recipe, problem.preprocessing);
    if (!program) {
        throw std::runtime_error{program.error().text()};
    }
    return std::move(*program);
}

/// Runs the product's trainer for `last_step` steps: it is asked to stop in the step after, which changes nothing.
void train_steps(worker::ModelProgram& program,
                 const Problem& problem,
                 c10::intrusive_ptr<c10d::ProcessGroup> group,
                 std::vector<std::int64_t> shares,
                 std::int64_t last_step,
                 const std::function<void(std::int64_t)>& after_step = {}) {
    Recipe recipe = problem.recipe;
    recipe.epochs = endless_epochs;
    recipe.data.validation = 0.0;
    std::stop_source stop;
    worker::TrainingOrder order;
    order.group = std::move(group);
    order.batch_rows = std::move(shares);
    order.progress_interval = Duration::zero();
    order.stop = stop.get_token();
    std::int64_t seen = 0;
    order.progress = [&](const Progress& progress) {
        if (progress.step > seen) { // an epoch's end reports its last step again
            seen = progress.step;
            if (after_step) {
                after_step(seen);
            }
            if (seen == last_step) {
                stop.request_stop();
            }
        }
    };
    const auto done = worker::train(program, recipe, problem.preprocessing, problem.matrices, order);
    if (done || done.error().code != ErrorCode::unavailable || seen != last_step) {
        throw std::runtime_error{done ? "the training ended by itself" : done.error().text()};
    }
}

/// The same with its timed steps' seconds.
double timed(const Problem& problem,
             Length length,
             c10::intrusive_ptr<c10d::ProcessGroup> group,
             std::vector<std::int64_t> shares) {
    auto program = build(problem);
    SteadyTime begin{};
    SteadyTime end{};
    train_steps(
        program, problem, std::move(group), std::move(shares), length.warm_up + length.steps, [&](std::int64_t step) {
            if (step == length.warm_up) {
                begin = std::chrono::steady_clock::now();
            }
            end = std::chrono::steady_clock::now();
        });
    return std::chrono::duration<double>(end - begin).count();
}

/// One member in a process of its own. Writes its seconds into `result`.
void run_member(const Problem& problem,
                Length length,
                const collective::GroupSpec& spec,
                int listener,
                const std::vector<std::int64_t>& shares,
                int threads,
                int result) {
    worker::settle_process();
    worker::prepare_thread(threads);
    const auto dialer = collective::tcp_dialer();
    auto group = collective::Group::connect(spec, listener, *dialer, Deadline::after(join_wait_max));
    if (!group) {
        throw std::runtime_error{group.error().text()};
    }
    const double seconds = timed(problem, length, process_group::make_process_group(std::move(*group)), shares);
    if (::write(result, &seconds, sizeof seconds) != sizeof seconds) {
        throw std::runtime_error{"the pipe is closed"};
    }
}

pid_t start_member(const std::function<void()>& body) {
    const pid_t child = ::fork();
    if (child < 0) {
        throw std::runtime_error{"fork failed"};
    }
    if (child == 0) {
        int status = 0;
        try {
            body();
        } catch (const std::exception& error) { // the boundary of this process
            std::fprintf(stderr, "a member failed: %s\n", error.what());
            status = 1;
        }
        std::_Exit(status);
    }
    return child;
}

} // namespace

double bare_seconds(const Problem& problem, Length length) {
    const Recipe& recipe = problem.recipe;
    const worker::Matrix& matrix = problem.matrices.train;
    auto program = build(problem);
    // Tensors over the mapped file; the file is never written to.
    const auto tensor = [](std::span<const float> values, at::IntArrayRef sizes) {
        return at::from_blob(const_cast<float*>(values.data()), sizes, at::kFloat);
    };
    const at::Tensor features = tensor(matrix.features.values(), {matrix.rows, matrix.columns}).clone();
    const at::Tensor target = (tensor(matrix.target.values(), {matrix.rows, 1}) - problem.preprocessing.target.mean) /
                              problem.preprocessing.target.scale;
    worker::Optimizer optimizer{recipe.optimizer, program.parameters(), length.warm_up + length.steps};
    const std::int64_t steps_of_epoch = matrix.rows / recipe.batch;
    at::Tensor order;
    SteadyTime begin{};
    for (std::int64_t step = 0; step < length.warm_up + length.steps; ++step) {
        if (step == length.warm_up) {
            begin = std::chrono::steady_clock::now();
        }
        if (step % steps_of_epoch == 0) {
            order = at::randperm(matrix.rows, at::kLong);
        }
        const at::Tensor rows = order.narrow(0, (step % steps_of_epoch) * recipe.batch, recipe.batch);
        for (const at::Tensor& parameter : program.parameters()) {
            parameter.mutable_grad().reset();
        }
        worker::loss_part(
            {recipe.loss}, program.forward(features.index_select(0, rows)), target.index_select(0, rows), recipe.batch)
            .backward();
        optimizer.step();
    }
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

double trainer_seconds(const Problem& problem, Length length) {
    return timed(problem, length, {}, {problem.recipe.batch});
}

double group_seconds(const Problem& problem, Length length, std::vector<std::int64_t> shares, int threads) {
    std::vector<process_group::testing::Listener> listeners;
    for (std::size_t i = 0; i < shares.size(); ++i) {
        listeners.push_back(process_group::testing::listen_on_loopback());
    }
    const auto specs = process_group::testing::make_specs(listeners, operation_timeout);
    int ends[2]{};
    if (::pipe(ends) != 0) {
        throw std::runtime_error{"pipe failed"};
    }
    const UniqueFd reading{ends[0]};
    UniqueFd writing{ends[1]};
    std::vector<pid_t> members;
    for (std::size_t rank = 0; rank < specs.size(); ++rank) {
        members.push_back(start_member([&] {
            run_member(problem, length, specs[rank], listeners[rank].fd.get(), shares, threads, writing.get());
        }));
    }
    writing.reset();
    double slowest = 0.0;
    bool failed = false;
    for (const pid_t member : members) {
        int status = 0;
        failed = ::waitpid(member, &status, 0) != member || status != 0 || failed;
        double seconds = 0.0;
        failed = failed || ::read(reading.get(), &seconds, sizeof seconds) != sizeof seconds;
        slowest = std::max(slowest, seconds);
    }
    if (failed) {
        throw std::runtime_error{"a member failed"};
    }
    return slowest;
}

double largest_difference(const Problem& problem,
                          std::int64_t steps,
                          const std::vector<std::vector<std::int64_t>>& divisions) {
    auto alone = build(problem);
    train_steps(alone, problem, {}, {problem.recipe.batch}, steps);
    double largest = 0.0;
    std::mutex mutex;
    for (const std::vector<std::int64_t>& shares : divisions) {
        process_group::testing::run_ranks(
            static_cast<int>(shares.size()), [&](std::shared_ptr<collective::Group> group) {
                worker::prepare_thread(1);
                auto program = build(problem);
                train_steps(program, problem, process_group::make_process_group(std::move(group)), shares, steps);
                const c10::AutoGradMode no_grad{false};
                const std::lock_guard lock{mutex};
                for (std::size_t i = 0; i < program.parameters().size(); ++i) {
                    const at::Tensor& expected = alone.parameters()[i];
                    const at::Tensor difference = (program.parameters()[i] - expected).norm() / expected.norm();
                    largest = std::max(largest, difference.item<double>());
                }
            });
    }
    return largest;
}

} // namespace muster::bench
