#include "worker/tree_network.h"

#include "base/log.h"
#include "worker/lightgbm_api.h"

#include <dlfcn.h>

#include <cstddef>
#include <numeric>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace muster::worker {
namespace {

/// The hooks carry no argument of ours, and LightGBM's own state is the thread's too.
thread_local TreeNetwork* current = nullptr;

std::vector<std::size_t> lengths_of(const std::int32_t* block_length, int blocks) {
    return {block_length, block_length + blocks};
}

std::size_t sum(const std::vector<std::size_t>& lengths) {
    return std::accumulate(lengths.begin(), lengths.end(), std::size_t{0});
}

/// LightGBM catches what a hook throws and turns it into -1: the exception itself is kept aside.
template <typename Body>
void keeping(const Body& body) {
    try {
        body();
    } catch (...) { // Thrown again, here for LightGBM to stop, and by TreeNetwork::check.
        current->keep(std::current_exception());
        throw;
    }
}

// NOLINTNEXTLINE(readability-function-size): as many parameters as LightGBM passes
void reduce_scatter(char* input,
                    std::int32_t /*input_size*/,
                    int type_size,
                    const std::int32_t* /*block_start*/, // blocks lie side by side
                    const std::int32_t* block_length,
                    int blocks,
                    char* output,
                    std::int32_t /*output_size*/,
                    const lightgbm::ReduceFunction& reduce) {
    keeping([&] {
        collective::Group& group = current->group();
        const auto lengths = lengths_of(block_length, blocks);
        const collective::Reducer reducer{
            .element_bytes = static_cast<std::size_t>(type_size),
            .combine = [&](std::span<std::byte> accumulator, std::span<const std::byte> incoming) {
                reduce(reinterpret_cast<const char*>(incoming.data()),
                       reinterpret_cast<char*>(accumulator.data()),
                       type_size,
                       static_cast<std::int32_t>(incoming.size()));
            }};
        const std::size_t own = lengths[static_cast<std::size_t>(group.rank())];
        group.reduce_scatter(std::as_bytes(std::span{input, sum(lengths)}),
                             std::as_writable_bytes(std::span{output, own}),
                             lengths,
                             reducer);
    });
}

void all_gather(char* input,
                std::int32_t /*input_size*/,
                const std::int32_t* /*block_start*/, // blocks lie side by side
                const std::int32_t* block_length,
                int blocks,
                char* output,
                std::int32_t /*output_size*/) {
    keeping([&] {
        collective::Group& group = current->group();
        const auto lengths = lengths_of(block_length, blocks);
        // Inside an all-reduce the input is the output's beginning, which belongs to the block of rank 0.
        const std::vector<char> own(input, input + lengths[static_cast<std::size_t>(group.rank())]);
        group.all_gather(
            std::as_bytes(std::span{own}), std::as_writable_bytes(std::span{output, sum(lengths)}), lengths);
    });
}

/// A line comes in pieces, the last of which ends it.
void write_log(const char* piece) {
    thread_local std::string line;
    line += piece;
    if (line.ends_with('\n')) {
        line.pop_back();
        log::debug("lightgbm {}", log::field("text", line));
        line.clear();
    }
}

} // namespace

void check_lightgbm(int status) {
    if (status != 0) {
        throw std::runtime_error{std::string{"LightGBM: "} + lightgbm::LGBM_GetLastError()};
    }
}

void take_lightgbm_log() {
    check_lightgbm(lightgbm::LGBM_RegisterLogCallback(&write_log));
}

TreeNetwork::TreeNetwork(collective::Group* group) : group_{group != nullptr && group->size() > 1 ? group : nullptr} {
    if (current != nullptr) {
        throw std::logic_error{"this thread is inside another training of trees"};
    }
    take_lightgbm_log();
    if (group_ != nullptr) {
        if (!can_train_together()) {
            throw std::runtime_error{"trees of several members need glibc's malloc (LightGBM's issue 5222)"};
        }
        check(lightgbm::LGBM_NetworkInitWithFunctions(
            group_->size(),
            group_->rank(),
            reinterpret_cast<void*>(lightgbm::ReduceScatterHook{reduce_scatter}),
            reinterpret_cast<void*>(lightgbm::AllGatherHook{all_gather})));
    }
    current = this;
}

TreeNetwork::~TreeNetwork() {
    current = nullptr;
    if (group_ != nullptr) {
        lightgbm::LGBM_NetworkFree();
    }
}

bool TreeNetwork::can_train_together() {
    static const bool glibc_allocates = [] {
        Dl_info found{};
        const void* const allocator = ::dlsym(RTLD_DEFAULT, "malloc");
        return allocator != nullptr && ::dladdr(allocator, &found) != 0 && found.dli_fname != nullptr &&
               std::string_view{found.dli_fname}.find("/libc.so") != std::string_view::npos;
    }();
    return glibc_allocates;
}

void TreeNetwork::check(int status) {
    if (status != 0 && failure_) {
        std::rethrow_exception(std::exchange(failure_, nullptr));
    }
    check_lightgbm(status);
}

} // namespace muster::worker
