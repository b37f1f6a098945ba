#include "worker/dropout.h"

#include "base/assert.h"
#include "worker/split_mix.h"

#include <ATen/Dispatch.h>
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <fmt/format.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <optional>

namespace muster::worker {
namespace {

struct Keys {
    std::uint64_t step{};     ///< of seed and step
    std::int64_t first_row{}; ///< in the global batch
};

thread_local std::optional<Keys> keys; // torch's operators take tensors and numbers only

constexpr std::int64_t rows_at_once = 1; // of a thread

std::uint64_t mixed(std::uint64_t left, std::uint64_t right) {
    SplitMix mix{left};
    return SplitMix{mix.next() ^ (right * 0xD1342543DE82EF95U)}.next();
}

/// Fills a row: each word of the generator decides two numbers.
template <typename Number>
void fill_row(Number* row, std::int64_t size, SplitMix random, double probability) {
    constexpr double words = 4294967296.0; // 2^32
    const auto dropped_below = static_cast<std::uint32_t>(std::min(probability * words, words - 1.0));
    const auto kept = static_cast<Number>(1.0 / (1.0 - probability));
    for (std::int64_t i = 0; i < size; i += 2) {
        const std::uint64_t word = random.next();
        row[i] = static_cast<std::uint32_t>(word) < dropped_below ? Number{0} : kept;
        if (i + 1 < size) {
            row[i + 1] = static_cast<std::uint32_t>(word >> 32U) < dropped_below ? Number{0} : kept;
        }
    }
}

at::Tensor mask_like(const at::Tensor& x, std::int64_t site, double probability) {
    // Drawn on the processor, so that it is the same wherever x is.
    at::Tensor mask = at::empty(x.sizes(), x.options().device(at::kCPU));
    const std::int64_t rows = x.size(0);
    const std::int64_t size = rows == 0 ? 0 : x.numel() / rows;
    const Keys used = *keys;
    const std::uint64_t place = mixed(used.step, static_cast<std::uint64_t>(site));
    AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "muster_dropout", [&] {
        auto* const first = mask.mutable_data_ptr<scalar_t>();
        at::parallel_for(0, rows, rows_at_once, [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t row = begin; row < end; ++row) {
                const auto number = static_cast<std::uint64_t>(used.first_row + row);
                fill_row(first + row * size, size, SplitMix{mixed(place, number)}, probability);
            }
        });
    });
    return mask.to(x.device());
}

at::Tensor dropout(const at::Tensor& x, std::int64_t site, double probability) {
    return keys && probability > 0.0 ? x * mask_like(x, site, probability) : x;
}

} // namespace

TORCH_LIBRARY_FRAGMENT(muster, library) {
    library.def("dropout(Tensor x, int site, float probability) -> Tensor", &dropout);
}

DropoutScope::DropoutScope(std::uint64_t seed, std::int64_t step, std::int64_t first_row) {
    MUSTER_ASSERT(!keys);
    keys = Keys{mixed(seed, static_cast<std::uint64_t>(step)), first_row};
}

DropoutScope::~DropoutScope() {
    keys.reset();
}

bool DropoutScope::is_alive() {
    return keys.has_value();
}

std::string dropout_call(const std::string& x, std::int64_t site, double probability) {
    return probability > 0.0 ? fmt::format("muster.dropout({}, {}, {})", x, site, probability) : x;
}

} // namespace muster::worker
