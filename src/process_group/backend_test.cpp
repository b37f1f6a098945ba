#include "process_group/backend.h"
#include "process_group/loopback_groups.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/csrc/distributed/c10d/default_comm_hooks.hpp>
#include <torch/csrc/distributed/c10d/reducer.hpp>

#include <algorithm>
#include <latch>
#include <thread>

namespace muster::process_group {
namespace {

using testing::run_ranks;
using Tensors = std::vector<at::Tensor>;
using ProcessGroup = c10::intrusive_ptr<c10d::ProcessGroup>;

c10d::AllreduceOptions by(c10d::ReduceOp::RedOpType operation) {
    c10d::AllreduceOptions options;
    options.reduceOp = operation;
    return options;
}

double reduced(ProcessGroup& group, at::Tensor tensor, c10d::ReduceOp::RedOpType operation) {
    Tensors tensors{std::move(tensor)};
    group->allreduce(tensors, by(operation))->wait();
    return tensors[0].to(at::kDouble).flatten()[-1].item<double>();
}

TEST(Backend, reduces_every_type_by_every_operation) {
    run_ranks(3, [](std::shared_ptr<collective::Group> connected) {
        auto group = make_process_group(std::move(connected));
        const double mine = group->getRank() + 1; // 1, 2, 3
        for (const auto type :
             {at::kFloat, at::kDouble, at::kHalf, at::kBFloat16, at::kChar, at::kByte, at::kInt, at::kLong}) {
            const auto filled = [&] { return at::full({7}, mine, type); };
            EXPECT_EQ(reduced(group, filled(), c10d::ReduceOp::SUM), 6) << at::toString(type);
            EXPECT_EQ(reduced(group, filled(), c10d::ReduceOp::PRODUCT), 6) << at::toString(type);
            EXPECT_EQ(reduced(group, filled(), c10d::ReduceOp::MIN), 1) << at::toString(type);
            EXPECT_EQ(reduced(group, filled(), c10d::ReduceOp::MAX), 3) << at::toString(type);
            if (at::isFloatingType(type)) {
                EXPECT_EQ(reduced(group, filled(), c10d::ReduceOp::AVG), 2) << at::toString(type);
            }
        }
        const auto flag = [&](bool value) { return at::full({3}, value, at::kBool); };
        EXPECT_EQ(reduced(group, flag(group->getRank() == 1), c10d::ReduceOp::SUM), 1);
        EXPECT_EQ(reduced(group, flag(group->getRank() == 1), c10d::ReduceOp::MIN), 0);
    });
}

TEST(Backend, reduces_strided_large_and_empty_tensors_in_place) {
    run_ranks(2, [](std::shared_ptr<collective::Group> connected) {
        auto group = make_process_group(std::move(connected));
        Tensors strided{at::arange(12, at::kFloat).view({3, 4}).t()};
        group->allreduce(strided)->wait();
        EXPECT_TRUE(strided[0].equal(at::arange(12, at::kFloat).view({3, 4}).t() * 2));
        Tensors large{at::ones({1 << 20}, at::kFloat)};
        group->allreduce(large)->wait();
        EXPECT_EQ(large[0].sum().item<float>(), static_cast<float>(2 << 20));
        Tensors empty{at::empty({0}, at::kFloat)};
        EXPECT_TRUE(group->allreduce(empty)->wait());
    });
}

TEST(Backend, reduces_many_tensors_of_mixed_types_at_once) {
    run_ranks(2, [](std::shared_ptr<collective::Group> connected) {
        auto group = make_process_group(std::move(connected));
        Tensors tensors{at::ones({2, 3}, at::kFloat), at::ones({5}, at::kFloat), at::ones({4}, at::kLong)};
        group->allreduce_coalesced(tensors)->wait();
        for (const auto& tensor : tensors) {
            EXPECT_TRUE(tensor.eq(2).all().item<bool>());
        }
    });
}

TEST(Backend, broadcasts_and_gathers_any_type_and_size) {
    run_ranks(3, [](std::shared_ptr<collective::Group> connected) {
        auto group = make_process_group(std::move(connected));
        const auto rank = group->getRank();
        c10d::BroadcastOptions from_last;
        from_last.rootRank = 2;
        Tensors sent{at::full({2, 2}, rank, at::kShort).t(), at::full({3}, rank, at::kComplexFloat)};
        group->broadcast(sent, from_last)->wait();
        EXPECT_TRUE(sent[0].eq(2).all().item<bool>());
        EXPECT_TRUE(sent[1].eq(2).all().item<bool>());

        Tensors input{at::full({rank + 1}, rank, at::kHalf)}; // rank r gives r + 1 elements
        std::vector<Tensors> outputs{{at::empty({1}, at::kHalf), at::empty({2}, at::kHalf), at::empty({3}, at::kHalf)}};
        auto work = group->allgather(outputs, input);
        work->wait();
        for (int from = 0; from < 3; ++from) {
            EXPECT_TRUE(outputs[0][static_cast<std::size_t>(from)].eq(from).all().item<bool>());
        }
        // The future's type is what c10d's hooks expect: a list of tensors.
        EXPECT_EQ(work->getFuture()->value().toTensorList().size(), 3U);

        auto mine = at::full({4}, rank, at::kLong);
        auto all = at::empty({12}, at::kLong);
        group->all_gather_single(all, mine)->wait();
        EXPECT_TRUE(all.view({3, 4}).eq(at::arange(3, at::kLong).view({3, 1})).all().item<bool>());
    });
}

TEST(Backend, keeps_order_and_counts_operations) {
    run_ranks(2, [](std::shared_ptr<collective::Group> connected) {
        auto group = make_process_group(std::move(connected));
        auto backend = group->getBackend(c10::DeviceType::CPU);
        EXPECT_EQ(backend->getBackendName(), "muster");
        EXPECT_EQ(backend->getSequenceNumberForGroup(), 0U);
        Tensors value{at::ones({1}, at::kDouble)};
        std::vector<c10::intrusive_ptr<c10d::Work>> works;
        for (int i = 0; i < 10; ++i) {
            works.push_back(group->allreduce(value)); // each doubles what the one before left
        }
        works.push_back(group->barrier());
        works.back()->wait();
        for (const auto& work : works) {
            EXPECT_TRUE(work->isCompleted());
        }
        EXPECT_EQ(value[0].item<double>(), 1024);
        EXPECT_EQ(backend->getSequenceNumberForGroup(), 11U);
        EXPECT_EQ(works.back()->getSequencenumber(), 10U);
    });
}

// What is still being taken apart on a thread that nobody waits for may meet the end of the process.
TEST(Backend, leaves_nothing_behind_when_it_is_gone) {
    for (int round = 0; round < 20; ++round) {
        run_ranks(2, [](std::shared_ptr<collective::Group> connected) {
            const std::weak_ptr<collective::Group> group{connected};
            auto backend = c10::make_intrusive<MusterBackend>(std::move(connected), std::make_shared<Executor>());
            for (int i = 0; i < 20; ++i) {
                Tensors tensors{at::ones({4})};
                backend->allreduce(tensors, by(c10d::ReduceOp::SUM))->wait();
            }
            backend.reset();
            EXPECT_TRUE(group.expired());
        });
    }
}

TEST(Backend, refuses_what_it_cannot_do_in_words) {
    run_ranks(2, [](std::shared_ptr<collective::Group> connected) {
        MusterBackend backend{std::move(connected), std::make_shared<Executor>()};
        const auto refused = [](const std::function<void()>& action) -> std::string {
            try {
                action();
            } catch (const c10::Error& error) {
                return error.what_without_backtrace();
            }
            return "accepted";
        };
        Tensors numbers{at::ones({2}, at::kLong)};
        Tensors complex{at::ones({2}, at::kComplexFloat)};
        EXPECT_NE(refused([&] { backend.send(numbers, backend.getRank(), 0); }).find("to or from itself"),
                  std::string::npos);
        EXPECT_NE(refused([&] { backend.recv(numbers, 2, 0); }).find("rank 2"), std::string::npos);
        EXPECT_NE(refused([&] { backend.allreduce(numbers, by(c10d::ReduceOp::AVG)); }).find("averages floating"),
                  std::string::npos);
        Tensors floats{at::ones({2})};
        EXPECT_NE(refused([&] { backend.allreduce(floats, by(c10d::ReduceOp::BXOR)); }).find("integers only"),
                  std::string::npos);
        EXPECT_NE(refused([&] { backend.allreduce(numbers, by(c10d::ReduceOp::UNUSED)); }).find("sum, avg"),
                  std::string::npos);
        EXPECT_NE(refused([&] { backend.allreduce(complex); }).find("ComplexFloat"), std::string::npos);
        EXPECT_EQ(backend.getSequenceNumberForGroup(), 0U);
    });
}

TEST(Backend, abort_ends_the_operation_on_all_ranks) {
    std::latch met{2};
    run_ranks(2, [&](std::shared_ptr<collective::Group> connected) {
        auto group = make_process_group(std::move(connected));
        group->barrier()->wait();
        met.arrive_and_wait(); // an abort may overtake the other rank's end of the barrier
        auto backend = group->getBackend(c10::DeviceType::CPU);
        Tensors tensor{at::ones({4})};
        if (group->getRank() == 1) {
            backend->abort();
        }
        EXPECT_THROW(group->allreduce(tensor)->wait(), collective::GroupFailed);
        EXPECT_THROW(group->barrier()->wait(), collective::GroupFailed); // and the group stays dead
        EXPECT_EQ(backend->getError(), c10d::ErrorType::COMM_ERROR);
    });
}

TEST(Backend, silence_of_a_peer_surfaces_with_its_name) {
    std::latch gave_up{1};
    run_ranks(
        2,
        [&](std::shared_ptr<collective::Group> connected) {
            auto group = make_process_group(std::move(connected));
            group->barrier()->wait();
            if (group->getRank() == 1) {
                gave_up.wait(); // silent, but alive
                return;
            }
            Tensors tensor{at::ones({4})};
            std::string words;
            try {
                group->allreduce(tensor)->wait();
            } catch (const std::exception& error) {
                words = error.what();
            }
            gave_up.count_down();
            EXPECT_NE(words.find("MLTrainingFunction=1"), std::string::npos) << words;
        },
        std::chrono::milliseconds{300});
}

TEST(Backend, a_shorter_limit_of_one_operation_aborts_the_group) {
    std::latch gave_up{1};
    run_ranks(2, [&](std::shared_ptr<collective::Group> connected) {
        auto group = make_process_group(std::move(connected));
        group->barrier()->wait();
        if (group->getRank() == 1) {
            gave_up.wait();
            EXPECT_THROW(group->barrier()->wait(), collective::GroupFailed);
            return;
        }
        c10d::AllreduceOptions options;
        options.timeout = std::chrono::milliseconds{100};
        Tensors tensor{at::ones({4})};
        std::string words;
        try {
            group->allreduce(tensor, options)->wait();
        } catch (const std::exception& error) {
            words = error.what();
        }
        gave_up.count_down();
        EXPECT_NE(words.find("timeout of 100 ms"), std::string::npos) << words;
    });
}

struct SumHook : c10d::CppCommHookInterface<ProcessGroup> {
    using c10d::CppCommHookInterface<ProcessGroup>::CppCommHookInterface;
    c10::intrusive_ptr<c10::ivalue::Future> runHook(c10d::GradBucket& bucket) override {
        Tensors buffer{bucket.getBufferRef()};
        return state_->allreduce(buffer)->getFuture();
    }
};

/// A small model: the same on every rank.
Tensors make_parameters() {
    auto generator = at::make_generator<at::CPUGeneratorImpl>(7);
    Tensors parameters;
    for (const auto& shape : std::vector<std::vector<std::int64_t>>{{64, 15}, {64}, {1, 64}, {1}}) {
        parameters.push_back(at::randn(shape, generator, at::kDouble).mul_(0.1).requires_grad_());
    }
    return parameters;
}

at::Tensor loss_of(const Tensors& p, const at::Tensor& rows, const at::Tensor& target, std::int64_t total) {
    const auto hidden = at::relu(at::linear(rows, p[0], p[1]));
    return (at::linear(hidden, p[2], p[3]) - target).pow(2).sum() / static_cast<double>(total);
}

void descend(Tensors& parameters) {
    const at::NoGradGuard no_grad;
    for (auto& parameter : parameters) {
        parameter.add_(parameter.grad(), -0.05);
        parameter.mutable_grad().reset();
    }
}

TEST(Backend, reducer_steps_with_unequal_shares_equal_steps_on_all_rows) {
    constexpr std::int64_t total = 64;
    constexpr int steps = 5;
    auto generator = at::make_generator<at::CPUGeneratorImpl>(99);
    const auto rows = at::randn({total, 15}, generator, at::kDouble);
    const auto target = at::randn({total, 1}, generator, at::kDouble);
    auto reference = make_parameters();
    for (int step = 0; step < steps; ++step) {
        loss_of(reference, rows, target, total).backward();
        descend(reference);
    }
    const std::vector<std::int64_t> bounds{0, 40, 58, total};
    run_ranks(3, [&](std::shared_ptr<collective::Group> connected) {
        at::set_num_threads(1);
        auto group = make_process_group(std::move(connected));
        const auto rank = static_cast<std::size_t>(group->getRank());
        auto parameters = make_parameters();
        const std::vector<bool> sparse(parameters.size(), false);
        auto [buckets, limits] = c10d::compute_bucket_assignment_by_size(parameters, {4096, 4096}, sparse);
        std::reverse(buckets.begin(), buckets.end());
        c10d::Reducer reducer{parameters,
                              buckets,
                              group,
                              sparse,
                              25 << 20,
                              false,
                              false,
                              {},
                              1 << 20,
                              false,
                              false,
                              std::vector<std::int64_t>{}};
        reducer.register_comm_hook(std::make_unique<SumHook>(group));
        const auto mine = rows.slice(0, bounds[rank], bounds[rank + 1]);
        const auto mine_target = target.slice(0, bounds[rank], bounds[rank + 1]);
        for (int step = 0; step < steps; ++step) {
            reducer.prepare_for_forward();
            if (reducer.should_rebuild_buckets()) {
                reducer.rebuild_buckets();
            }
            const auto loss = loss_of(parameters, mine, mine_target, total);
            reducer.prepare_for_backward({});
            loss.backward();
            descend(parameters);
        }
        for (std::size_t i = 0; i < parameters.size(); ++i) {
            EXPECT_LT((parameters[i] - reference[i]).abs().max().item<double>(), 1e-14);
        }
    });
}

} // namespace
} // namespace muster::process_group
