#include "worker/reducer.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <unordered_map>

namespace muster::worker {
namespace {

/// Buckets in which gradients travel: the first is small so that sending begins early in backward, the rest large
/// enough that latency does not count (algorithms.md 2.3).
constexpr std::size_t first_bucket_bytes = 1U << 20U;
constexpr std::size_t bucket_bytes = 25U << 20U;

} // namespace

std::unique_ptr<c10d::Reducer> make_reducer(std::vector<at::Tensor> parameters,
                                            const c10::intrusive_ptr<c10d::ProcessGroup>& group) {
    std::unordered_map<std::size_t, std::string> names;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
        names[i] = "parameter " + std::to_string(i);
    }
    const std::vector<bool> sparse(parameters.size(), false);
    auto buckets =
        std::get<0>(c10d::compute_bucket_assignment_by_size(parameters, {first_bucket_bytes, bucket_bytes}, sparse));
    std::ranges::reverse(buckets); // backward reaches the last parameters first
    return std::make_unique<c10d::Reducer>(std::move(parameters),
                                           std::move(buckets),
                                           group,
                                           sparse,
                                           static_cast<std::int64_t>(bucket_bytes),
                                           /*find_unused_parameters=*/false,
                                           /*gradient_as_bucket_view=*/true,
                                           std::move(names),
                                           static_cast<std::int64_t>(first_bucket_bytes),
                                           /*skip_all_reduce_unused_params=*/false,
                                           /*use_python_reducer=*/false,
                                           std::vector<std::int64_t>{});
}

} // namespace muster::worker
