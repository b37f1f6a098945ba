#include "process_group/sparse.h"

#include "process_group/tensors.h"

#include <ATen/Functions.h>

#include <numeric>

namespace muster::process_group {
namespace {

/// What every rank says first: sparse dimensions, elements, and the shape.
std::vector<std::int64_t> metadata_of(const at::Tensor& tensor) {
    std::vector<std::int64_t> metadata{tensor.sparse_dim(), tensor._nnz()};
    metadata.insert(metadata.end(), tensor.sizes().begin(), tensor.sizes().end());
    return metadata;
}

/// Gathers `own` of every rank, `counts[r]` entries along the last dimension of indices or the first of values.
Tensors gather_parts(collective::Group& group,
                     const at::Tensor& own,
                     std::int64_t dimension,
                     const std::vector<std::int64_t>& counts) {
    Tensors parts;
    for (const auto count : counts) {
        auto sizes = own.sizes().vec();
        sizes[static_cast<std::size_t>(dimension)] = count;
        parts.push_back(at::empty(sizes, own.options()));
    }
    const auto space = space_for(parts);
    group.all_gather(bytes_of(pack({own})), bytes_of(space), lengths_of(parts));
    unpack(space, parts);
    return parts;
}

} // namespace

void sum_sparse(collective::Group& group, const at::Tensor& tensor) {
    const auto input = tensor.coalesce();
    const auto own = metadata_of(input);
    const auto size = static_cast<std::size_t>(group.size());
    std::vector<std::int64_t> all(own.size() * size);
    const std::vector<std::size_t> lengths(size, own.size() * sizeof(std::int64_t));
    // Ranks with another number of dimensions have another length, which the group finds and names.
    group.all_gather(std::as_bytes(std::span{own}), std::as_writable_bytes(std::span{all}), lengths);
    std::vector<std::int64_t> counts;
    for (std::size_t rank = 0; rank < size; ++rank) {
        const auto theirs = std::span{all}.subspan(rank * own.size(), own.size());
        counts.push_back(theirs[1]);
        TORCH_CHECK(theirs[0] == own[0] && std::equal(theirs.begin() + 2, theirs.end(), own.begin() + 2),
                    "Backend muster: the sparse tensor of rank ",
                    rank,
                    " has another shape than this one's");
    }
    const auto indices = gather_parts(group, input.indices(), 1, counts);
    const auto values = gather_parts(group, input.values(), 0, counts);
    // One tensor of all elements; coalescing adds those of the same place, in rank order on every rank.
    auto sum =
        at::sparse_coo_tensor(at::cat(indices, 1), at::cat(values, 0), input.sizes(), input.options()).coalesce();
    tensor.copy_(sum);
}

} // namespace muster::process_group
