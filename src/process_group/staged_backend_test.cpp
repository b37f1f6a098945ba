#include "process_group/loopback_groups.h"
#include "process_group/staged_backend.h"
#include "process_group/testing_device.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

namespace muster::process_group {
namespace {

using testing::run_ranks;
using Tensors = std::vector<at::Tensor>;
using ProcessGroup = c10::intrusive_ptr<c10d::ProcessGroup>;

/// Runs `body` on three ranks; the last one has no device.
void run_mixed(const std::function<void(ProcessGroup, at::Device)>& body) {
    const at::Device device = testing::stand_in_device();
    run_ranks(3, [&](std::shared_ptr<collective::Group> connected) {
        const at::Device own = connected->rank() == 2 ? at::Device{at::kCPU} : device;
        body(make_process_group(std::move(connected), own.type()), own);
    });
}

at::Tensor numbers(std::int64_t count, double first, at::Device device) {
    return at::arange(count, at::kDouble).add(first).to(device);
}

void expect_equal(const at::Tensor& tensor, const at::Tensor& expected) {
    EXPECT_TRUE(tensor.cpu().equal(expected)) << tensor.cpu() << "\nexpected\n" << expected;
}

TEST(StagedBackend, sums_what_is_on_devices_and_on_hosts) {
    run_mixed([](ProcessGroup group, at::Device device) {
        Tensors tensors{numbers(1000, group->getRank(), device)};
        const auto work = group->allreduce(tensors);
        work->wait();
        EXPECT_TRUE(work->isCompleted() && work->isSuccess());
        EXPECT_EQ(tensors[0].device(), device);
        expect_equal(tensors[0], 3 * at::arange(1000, at::kDouble) + 3);
    });
    EXPECT_GT(testing::pinned_allocations(), 0);
}

TEST(StagedBackend, tells_a_callback_when_the_sum_is_on_the_device) {
    run_mixed([](ProcessGroup group, at::Device device) {
        Tensors tensors{numbers(10, 1, device)};
        const auto sum = group->allreduce(tensors)->getFuture()->then(
            [](c10::ivalue::Future& done) {
                const Tensors reduced = done.value().toTensorVector();
                return c10::IValue{reduced[0].cpu().sum().item<double>()};
            },
            c10::FloatType::get());
        sum->waitAndThrow();
        EXPECT_EQ(sum->value().toDouble(), 3 * 55.0);
    });
}

TEST(StagedBackend, copies_strided_tensors) {
    run_mixed([](ProcessGroup group, at::Device device) {
        const at::Tensor whole = numbers(12, 0, device).view({3, 4});
        Tensors tensors{whole.t()};
        group->allreduce(tensors)->wait();
        expect_equal(whole, 3 * at::arange(12, at::kDouble).view({3, 4}));
    });
}

TEST(StagedBackend, broadcasts_from_a_device_and_from_a_host) {
    for (const int root : {0, 2}) {
        run_mixed([root](ProcessGroup group, at::Device device) {
            Tensors tensors{numbers(5, 10.0 * group->getRank(), device)};
            c10d::BroadcastOptions options;
            options.rootRank = root;
            group->broadcast(tensors, options)->wait();
            expect_equal(tensors[0], at::arange(5, at::kDouble) + 10 * root);
        });
    }
}

TEST(StagedBackend, scatters_sums_and_gathers_them_in_unequal_blocks) {
    run_mixed([](ProcessGroup group, at::Device device) {
        const auto rank = static_cast<std::size_t>(group->getRank());
        const at::Tensor whole = numbers(10, 0, device);
        std::vector<Tensors> blocks{whole.split_with_sizes({5, 2, 3})};
        Tensors own{blocks[0][rank]};
        group->reduce_scatter(own, blocks)->wait();
        const at::Tensor summed = 3 * at::arange(10, at::kDouble);
        expect_equal(own[0], summed.split_with_sizes({5, 2, 3})[rank]);
        group->allgather(blocks, own)->wait();
        expect_equal(whole, summed);
    });
}

TEST(StagedBackend, fails_with_the_groups_words) {
    run_mixed([](ProcessGroup group, at::Device device) {
        Tensors tensors{numbers(10, 0, device)};
        if (group->getRank() == 1) {
            group->getBackend(device.type())->abort();
        }
        try {
            group->allreduce(tensors)->wait();
            ADD_FAILURE() << "a group that was aborted has summed";
        } catch (const c10::Error& error) {
            EXPECT_NE(std::string{error.what_without_backtrace()}.find("rank 1"), std::string::npos)
                << error.what_without_backtrace();
        } catch (const std::exception& error) {
            EXPECT_NE(std::string{error.what()}.find("rank 1"), std::string::npos) << error.what();
        }
    });
}

TEST(StagedBackend, refuses_what_cannot_be_meant) {
    run_mixed([](ProcessGroup group, at::Device device) {
        if (device.is_cpu()) {
            return;
        }
        Tensors two_types{at::zeros({1}, device), at::zeros({1}, at::TensorOptions{device}.dtype(at::kLong))};
        EXPECT_THROW(group->getBackend(device.type())->allreduce(two_types), c10::Error);
        Tensors two_places{at::zeros({1}, device), at::zeros({1})};
        EXPECT_THROW(group->getBackend(device.type())->allreduce(two_places), c10::Error);
        Tensors none;
        EXPECT_THROW(group->getBackend(device.type())->allreduce(none), c10::Error);
    });
}

TEST(StandInDevice, keeps_its_memory_from_the_host) {
    const at::Tensor tensor = at::ones({4}, at::TensorOptions{testing::stand_in_device()});
    EXPECT_EQ(tensor.sum().item<float>(), 4.0F);
    EXPECT_DEATH((void)*static_cast<const volatile float*>(tensor.const_data_ptr()), "");
}

TEST(StagedBackend, is_not_there_for_hosts) {
    run_ranks(2, [](std::shared_ptr<collective::Group> connected) {
        auto group = make_process_group(std::move(connected));
        EXPECT_NE(dynamic_cast<MusterBackend*>(group->getBackend(at::kCPU).get()), nullptr);
    });
}

} // namespace
} // namespace muster::process_group
