/// What is trained on a device: on the stand-in everywhere, on a GPU where there is one.
#include "base/fd.h"
#include "process_group/testing_device.h"
#include "worker/calibration.h"
#include "worker/compute_device.h"
#include "worker/exported_model.h"
#include "worker/testing_ranks.h"
#include "worker/testing_text_problem.h"

#include <ATen/Context.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <filesystem>

namespace muster::worker {
namespace {

TEST(ComputeDevice, reads_names) {
    EXPECT_TRUE(parse_device("cpu")->is_cpu());
    EXPECT_EQ(parse_device("cuda")->str(), "cuda:0");
    EXPECT_EQ(parse_device("cuda:3")->str(), "cuda:3");
    for (const char* wrong : {"", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:64", "cuda1", "cuda:1x", "CPU"}) {
        const auto parsed = parse_device(wrong);
        ASSERT_FALSE(parsed) << wrong;
        EXPECT_NE(parsed.error().text().find("allowed: cpu, cuda"), std::string::npos) << parsed.error().text();
    }
}

TEST(ComputeDevice, says_when_there_is_none) {
    if (at::globalContext().hasCUDA()) {
        GTEST_SKIP() << "this machine has a GPU";
    }
    const auto loaded = load_device(*parse_device("cuda"));
    const auto started = loaded ? start_device(*parse_device("cuda")) : loaded;
    ASSERT_FALSE(started);
    EXPECT_NE(started.error().text().find("cuda:0 was asked for, but"), std::string::npos) << started.error().text();
}

TEST(ComputeDevice, of_the_processor_needs_nothing) {
    const at::Device processor = *parse_device("cpu");
    EXPECT_TRUE(start_device(processor));
    EXPECT_FALSE(driver_files(processor).has_value());
    EXPECT_EQ(device_memory_bytes(processor), 0);
    EXPECT_EQ(device_peak_bytes(processor), 0);
    EXPECT_EQ(processor_of(processor).bf16, Processor::here().bf16);
}

enum class Kind { stand_in, gpu };

void PrintTo(Kind kind, std::ostream* to) {
    *to << (kind == Kind::gpu ? "gpu" : "stand_in");
}

/// Before any test: torch's first backward asks which devices there are.
[[maybe_unused]] const at::Device registered = process_group::testing::stand_in_device();

struct SmallProblem : TestingProblem {
    SmallProblem() { recipe.number_type = NumberType::fp64; }
};

struct SmallText : TextProblem {
    SmallText() {
        recipe.number_type = NumberType::fp64;
        recipe.epochs = 1;
    }
};

class OnDevice : public ::testing::TestWithParam<Kind> {
protected:
    void SetUp() override {
        if (GetParam() == Kind::stand_in) {
            device_ = process_group::testing::stand_in_device();
        } else if (load_device(cuda()) && at::globalContext().hasCUDA()) {
            device_ = cuda();
        } else {
            GTEST_SKIP() << "no GPU";
        }
        ASSERT_TRUE(start_device(device_));
    }

    /// Torch computes the gradients of all of a process that are on one device in one thread, which waits for the other
    /// ranks: here each rank needs a device of its own.
    [[nodiscard]] at::Device device_of(std::size_t rank) const {
        return GetParam() == Kind::gpu ? device_
                                       : process_group::testing::stand_in_device(static_cast<c10::DeviceIndex>(rank));
    }

    /// Trains with these shares; `on_device` says which ranks have a device.
    template <typename Problem>
    std::vector<Trained>
    train_mixed(const Problem& problem, const std::vector<std::int64_t>& shares, const std::vector<bool>& on_device) {
        std::vector<Trained> results(shares.size());
        const auto body = [&](std::shared_ptr<collective::Group> connected) {
            prepare_thread(1);
            const auto rank = static_cast<std::size_t>(connected ? connected->rank() : 0);
            const at::Device own = on_device[rank] ? device_of(rank) : at::Device{at::kCPU};
            Group group;
            if (connected) {
                group = process_group::make_process_group(std::move(connected), own.type());
            }
            auto program = ModelProgram::build(problem.recipe, problem.preprocessing, {}, nullptr, own);
            const TrainingOrder order{.group = std::move(group), .batch_rows = shares};
            results[rank].done = train(*program, problem.recipe, problem.preprocessing, problem.matrices, order);
            for (const at::Tensor& parameter : program->parameters()) {
                EXPECT_EQ(parameter.device(), own);
                results[rank].parameters.push_back(parameter.detach().cpu());
            }
        };
        if (shares.size() == 1) {
            body(nullptr);
        } else {
            process_group::testing::run_ranks(static_cast<int>(shares.size()), body);
        }
        return results;
    }

    template <typename Problem>
    void expect_the_processors_result(const Problem& problem,
                                      const std::vector<std::int64_t>& shares,
                                      const std::vector<bool>& on_device,
                                      double tolerance = 1e-9) {
        const auto expected = train_mixed(problem, {problem.recipe.batch}, {false}).front();
        ASSERT_TRUE(*expected.done) << expected.done->error().text();
        for (const Trained& trained : train_mixed(problem, shares, on_device)) {
            ASSERT_TRUE(*trained.done) << trained.done->error().text();
            for (std::size_t i = 0; i < trained.parameters.size(); ++i) {
                EXPECT_TRUE(trained.parameters[i].allclose(expected.parameters[i], tolerance, tolerance)) << i;
            }
        }
    }

    static at::Device cuda() { return {at::kCUDA, 0}; }

    at::Device device_{at::kCPU};
};

TEST_P(OnDevice, one_function_trains_the_processors_model) {
    const SmallProblem problem;
    expect_the_processors_result(problem, {problem.recipe.batch}, {true});
}

TEST_P(OnDevice, functions_with_and_without_it_train_one_model) {
    const SmallProblem problem;
    const std::int64_t batch = problem.recipe.batch;
    expect_the_processors_result(problem, {batch / 2, batch - batch / 2}, {true, false});
    expect_the_processors_result(problem, {batch / 4, batch - batch / 4}, {false, true});
    if (GetParam() == Kind::stand_in) {
        expect_the_processors_result(problem, {batch / 2, batch - batch / 2}, {true, true});
    }
}

TEST_P(OnDevice, members_end_with_the_same_digest) {
    const SmallProblem problem;
    const std::int64_t batch = problem.recipe.batch;
    const auto trained = train_mixed(problem, {batch / 2, batch - batch / 2}, {true, false});
    EXPECT_EQ((*trained[0].done)->parameters_digest, (*trained[1].done)->parameters_digest);
}

TEST_P(OnDevice, a_language_model_with_dropout_is_the_same) {
    SmallText problem;
    problem.recipe.model.dropout = 0.2;
    problem.recipe.optimizer.clip_norm = 0.5;
    const std::int64_t batch = problem.recipe.batch;
    expect_the_processors_result(problem, {batch - 1, 1}, {true, false});
}

TEST_P(OnDevice, bf16_products_are_near_those_of_fp32) {
    SmallText problem;
    problem.recipe.number_type = NumberType::fp32;
    const auto expected = train_mixed(problem, {problem.recipe.batch}, {false}).front();
    problem.recipe.number_type = NumberType::bf16;
    const auto trained = train_mixed(problem, {problem.recipe.batch}, {true}).front();
    ASSERT_TRUE(*trained.done) << trained.done->error().text();
    for (std::size_t i = 0; i < trained.parameters.size(); ++i) {
        EXPECT_TRUE(trained.parameters[i].allclose(expected.parameters[i], 0.1, 0.05)) << i;
    }
}

TEST_P(OnDevice, its_archive_is_for_the_processor) {
    const SmallProblem problem;
    const auto program = ModelProgram::build(problem.recipe, problem.preprocessing, {}, nullptr, device_);
    const auto same = ModelProgram::build(problem.recipe, problem.preprocessing);
    EXPECT_EQ(program->parameters_digest(), same->parameters_digest());
    const UniqueFd archive{::memfd_create("archive", MFD_CLOEXEC)};
    program->export_archive(archive.get());
    EXPECT_TRUE(ExportedModel::load(archive.get(), "archive"));
}

TEST_P(OnDevice, calibration_counts_its_memory) {
    const SmallProblem problem;
    const std::vector<std::int64_t> batches{1, 8};
    const auto measured =
        measure_steps(problem.recipe, problem.preprocessing, problem.matrices.train, batches, {.device = device_});
    ASSERT_TRUE(measured) << measured.error().text();
    EXPECT_EQ(measured->steps.size(), 2U);
    EXPECT_GT(measured->steps[0].seconds, 0.0);
    EXPECT_GT(device_peak_bytes(device_), 0);
    EXPECT_GE(peak_memory_bytes(device_), device_peak_bytes(device_));
    EXPECT_GT(device_memory_bytes(device_), device_peak_bytes(device_));
}

INSTANTIATE_TEST_SUITE_P(Devices, OnDevice, ::testing::Values(Kind::stand_in, Kind::gpu), [](const auto& kind) {
    return ::testing::PrintToString(kind.param);
});

} // namespace
} // namespace muster::worker
