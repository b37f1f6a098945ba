/// The collectives of MusterBackend. Arguments are checked here, in the caller's thread; what is left to fail is the
/// group.
#include "process_group/backend.h"
#include "process_group/sparse.h"
#include "process_group/tensors.h"

#include <ATen/Functions.h>

namespace muster::process_group {
namespace {

using WorkPtr = c10::intrusive_ptr<c10d::Work>;

/// An operation that the group cannot do must be refused before it is queued.
void check_reducible(const char* name, const Tensors& tensors, const c10d::ReduceOp& operation) {
    check_dense(name, tensors);
    for (const auto& tensor : tensors) {
        (void)element_type(tensor.scalar_type());
        (void)reduction(operation, tensor.scalar_type());
    }
}

const at::Tensor& only(const char* name, const Tensors& tensors) {
    TORCH_CHECK(tensors.size() == 1, "Backend muster: ", name, " takes one tensor, not ", tensors.size());
    return tensors.front();
}

void finish_average(const c10d::ReduceOp& operation, const at::Tensor& tensor, int size) {
    if (operation.op_ == c10d::ReduceOp::AVG) {
        tensor.div_(size);
    }
}

void reduce_in_place(collective::Group& group, const at::Tensor& tensor, const c10d::ReduceOp& operation) {
    const auto type = tensor.scalar_type();
    const auto dense = tensor.contiguous(); // the tensor itself when it is already so
    group.all_reduce(bytes_of(dense), element_type(type), reduction(operation, type));
    finish_average(operation, dense, group.size());
    if (!dense.is_same(tensor)) {
        tensor.copy_(dense);
    }
}

/// Reduces neighbours of one type as one message: many small tensors cost one round trip.
void reduce_coalesced(collective::Group& group, const Tensors& tensors, const c10d::ReduceOp& operation) {
    for (std::size_t first = 0; first < tensors.size();) {
        std::size_t last = first + 1;
        const auto type = tensors[first].scalar_type();
        while (last < tensors.size() && tensors[last].scalar_type() == type) {
            ++last;
        }
        const Tensors part{tensors.begin() + static_cast<std::ptrdiff_t>(first),
                           tensors.begin() + static_cast<std::ptrdiff_t>(last)};
        const auto packed = pack(part);
        group.all_reduce(bytes_of(packed), element_type(type), reduction(operation, type));
        unpack(packed, part);
        for (const auto& tensor : part) {
            finish_average(operation, tensor, group.size());
        }
        first = last;
    }
}

/// The inputs of a reduce_scatter; their own memory, when `output` is none of it but this rank's block.
at::Tensor in_one_piece(const Tensors& inputs, const at::Tensor& output, int rank) {
    const auto whole = inputs.size() > 1 ? joined(inputs) : at::Tensor{};
    if (!whole.defined()) {
        return pack(inputs);
    }
    const auto all = bytes_of(whole);
    const auto target = bytes_of(output);
    const bool apart = target.data() + target.size() <= all.data() || all.data() + all.size() <= target.data();
    const bool in_place = target.data() == bytes_of(inputs[static_cast<std::size_t>(rank)]).data();
    return apart || in_place || target.empty() ? whole : pack(inputs);
}

void scatter_reduced(collective::Group& group,
                     const at::Tensor& output,
                     const Tensors& inputs,
                     const std::vector<std::size_t>& lengths,
                     const c10d::ReduceOp& operation) {
    const auto type = output.scalar_type();
    const auto space = space_for({output});
    const auto whole = in_one_piece(inputs, output, group.rank());
    group.reduce_scatter(bytes_of(whole), bytes_of(space), lengths, element_type(type), reduction(operation, type));
    unpack(space, {output});
    finish_average(operation, output, group.size());
}

/// Bytes for each rank of a tensor that is cut along its first dimension; no sizes: into equal parts.
std::vector<std::size_t> split_lengths(const at::Tensor& tensor, const std::vector<std::int64_t>& splits, int size) {
    const auto ranks = static_cast<std::size_t>(size);
    if (splits.empty()) {
        TORCH_CHECK(tensor.dim() > 0 && tensor.size(0) % size == 0,
                    "Backend muster: the first dimension of a tensor is not a multiple of ",
                    size,
                    " ranks");
        return std::vector<std::size_t>(ranks, tensor.nbytes() / ranks);
    }
    std::int64_t rows = 0;
    std::vector<std::size_t> lengths;
    for (const auto split : splits) {
        TORCH_CHECK(split >= 0, "Backend muster: a split of ", split, " rows");
        rows += split;
        lengths.push_back(static_cast<std::size_t>(split));
    }
    TORCH_CHECK(splits.size() == ranks && tensor.dim() > 0 && rows == tensor.size(0),
                "Backend muster: splits do not add up to the tensor's first dimension, or are not one for each rank");
    const auto row_bytes = rows == 0 ? 0 : tensor.nbytes() / static_cast<std::size_t>(rows);
    for (auto& length : lengths) {
        length *= row_bytes;
    }
    return lengths;
}

} // namespace

void MusterBackend::check_root(const char* name, std::int64_t root) const {
    TORCH_CHECK_VALUE(
        root >= 0 && root < size_, "Backend muster: ", name, " with root ", root, " of ", size_, " ranks");
}

void MusterBackend::check_blocks(const char* name, const Tensors& blocks, const at::Tensor& own) const {
    check_dense(name, blocks);
    TORCH_CHECK(blocks.size() == static_cast<std::size_t>(size_),
                "Backend muster: ",
                name,
                " needs one block for each of ",
                size_,
                " ranks, not ",
                blocks.size());
    check_one_type(name, blocks);
    check_one_type(name, {own, blocks.front()});
    TORCH_CHECK(blocks[static_cast<std::size_t>(rank_)].numel() == own.numel(),
                "Backend muster: ",
                name,
                ": this rank's own block has another size than its tensor");
}

void MusterBackend::check_equal_blocks(const char* name, const Tensors& blocks, const at::Tensor& own) const {
    check_blocks(name, blocks, own);
    for (const auto& block : blocks) {
        TORCH_CHECK(block.numel() == own.numel(), "Backend muster: ", name, " of blocks of different sizes");
    }
}

WorkPtr MusterBackend::allreduce(Tensors& tensors, const c10d::AllreduceOptions& options) {
    if (tensors.size() == 1 && tensors.front().layout() == at::kSparse) {
        return allreduce_sparse(tensors, options);
    }
    check_reducible("allreduce", tensors, options.reduceOp);
    return queue_->push({c10d::OpType::ALLREDUCE, "muster:all_reduce", tensors, tensors, options.timeout},
                        [tensors, operation = options.reduceOp](collective::Group& group) {
                            for (const auto& tensor : tensors) {
                                reduce_in_place(group, tensor, operation);
                            }
                        });
}

WorkPtr MusterBackend::allreduce_sparse(Tensors& tensors, const c10d::AllreduceOptions& options) {
    const auto tensor = only("allreduce_sparse", tensors);
    TORCH_CHECK(tensor.layout() == at::kSparse && tensor.device().is_cpu(),
                "Backend muster: a sparse CPU tensor is needed");
    TORCH_CHECK(options.reduceOp.op_ == c10d::ReduceOp::SUM, "Backend muster: sparse tensors are reduced by sum only");
    return queue_->push(
        {c10d::OpType::_ALLREDUCE_SPARSE, "muster:sparse_all_reduce", tensors, tensors, options.timeout},
        [tensor](collective::Group& group) { sum_sparse(group, tensor); });
}

WorkPtr MusterBackend::allreduce_coalesced(Tensors& tensors, const c10d::AllreduceCoalescedOptions& options) {
    check_reducible("allreduce_coalesced", tensors, options.reduceOp);
    return queue_->push({c10d::OpType::ALLREDUCE_COALESCED, "muster:all_reduce", tensors, tensors, options.timeout},
                        [tensors, operation = options.reduceOp](collective::Group& group) {
                            reduce_coalesced(group, tensors, operation);
                        });
}

WorkPtr MusterBackend::reduce(Tensors& tensors, const c10d::ReduceOptions& options) {
    const auto tensor = only("reduce", tensors);
    check_reducible("reduce", tensors, options.reduceOp);
    check_root("reduce", options.rootRank);
    return queue_->push(
        {c10d::OpType::REDUCE, "muster:reduce", tensors, tensors, options.timeout},
        [tensor, operation = options.reduceOp, root = static_cast<int>(options.rootRank)](collective::Group& group) {
            const auto type = tensor.scalar_type();
            const auto dense = tensor.contiguous();
            group.reduce(bytes_of(dense), element_type(type), reduction(operation, type), root);
            if (group.rank() == root) {
                finish_average(operation, dense, group.size());
                if (!dense.is_same(tensor)) {
                    tensor.copy_(dense);
                }
            }
        });
}

WorkPtr MusterBackend::broadcast(Tensors& tensors, const c10d::BroadcastOptions& options) {
    check_dense("broadcast", tensors);
    check_root("broadcast", options.rootRank);
    TORCH_CHECK(options.rootTensor == 0, "Backend muster: broadcast of tensor ", options.rootTensor);
    return queue_->push({c10d::OpType::BROADCAST, "muster:broadcast", tensors, tensors, options.timeout},
                        [tensors, root = static_cast<int>(options.rootRank)](collective::Group& group) {
                            for (const auto& tensor : tensors) {
                                const auto dense = tensor.contiguous();
                                group.broadcast(bytes_of(dense), root);
                                if (!dense.is_same(tensor) && group.rank() != root) {
                                    tensor.copy_(dense);
                                }
                            }
                        });
}

WorkPtr
MusterBackend::allgather(std::vector<Tensors>& outputs, Tensors& inputs, const c10d::AllgatherOptions& options) {
    const auto input = only("allgather", inputs);
    TORCH_CHECK(outputs.size() == 1, "Backend muster: allgather takes one list of outputs");
    const auto& blocks = outputs.front();
    check_dense("allgather", inputs);
    check_blocks("allgather", blocks, input);
    return queue_->push({c10d::OpType::ALLGATHER, "muster:all_gather", inputs, blocks, options.timeout},
                        [input, blocks](collective::Group& group) {
                            const auto own_memory = joined(blocks);
                            const auto space = own_memory.defined() ? own_memory : space_for(blocks);
                            group.all_gather(bytes_of(pack({input})), bytes_of(space), lengths_of(blocks));
                            unpack(space, blocks);
                        });
}

WorkPtr MusterBackend::_allgather_base(at::Tensor& output, at::Tensor& input, const c10d::AllgatherOptions& options) {
    Tensors outputs{output};
    Tensors inputs{input};
    return allgather_into_tensor_coalesced(outputs, inputs, options);
}

WorkPtr MusterBackend::allgather_into_tensor_coalesced(Tensors& outputs,
                                                       Tensors& inputs,
                                                       const c10d::AllgatherOptions& options) {
    check_dense("allgather", inputs);
    check_dense("allgather", outputs);
    TORCH_CHECK(outputs.size() == inputs.size(), "Backend muster: allgather of as many outputs as inputs");
    for (std::size_t i = 0; i < inputs.size(); ++i) {
        check_one_type("allgather", {inputs[i], outputs[i]});
        TORCH_CHECK(outputs[i].numel() == inputs[i].numel() * size_,
                    "Backend muster: allgather needs an output of ",
                    size_,
                    " times the input's size");
    }
    return queue_->push({c10d::OpType::_ALLGATHER_BASE, "muster:all_gather", inputs, outputs, options.timeout},
                        [outputs, inputs](collective::Group& group) {
                            for (std::size_t i = 0; i < inputs.size(); ++i) {
                                const auto space = space_for({outputs[i]});
                                const std::vector<std::size_t> lengths(static_cast<std::size_t>(group.size()),
                                                                       inputs[i].nbytes());
                                group.all_gather(bytes_of(pack({inputs[i]})), bytes_of(space), lengths);
                                unpack(space, {outputs[i]});
                            }
                        });
}

WorkPtr MusterBackend::allgather_coalesced(std::vector<Tensors>& outputs,
                                           Tensors& inputs,
                                           const c10d::AllgatherOptions& options) {
    check_dense("allgather_coalesced", inputs);
    TORCH_CHECK(outputs.size() == static_cast<std::size_t>(size_),
                "Backend muster: allgather_coalesced needs a list of outputs for each of ",
                size_,
                " ranks");
    Tensors all;
    for (const auto& list : outputs) {
        check_dense("allgather_coalesced", list);
        TORCH_CHECK(list.size() == inputs.size(), "Backend muster: allgather_coalesced of as many outputs as inputs");
        for (std::size_t i = 0; i < inputs.size(); ++i) {
            check_one_type("allgather_coalesced", {inputs[i], list[i]});
            TORCH_CHECK(list[i].numel() == inputs[i].numel(), "Backend muster: allgather_coalesced of unequal sizes");
            all.push_back(list[i]);
        }
    }
    return queue_->push({c10d::OpType::ALLGATHER_COALESCED, "muster:all_gather", inputs, all, options.timeout},
                        [all, inputs](collective::Group& group) {
                            const auto space = space_for(all);
                            const auto own = pack(inputs);
                            const std::vector<std::size_t> lengths(static_cast<std::size_t>(group.size()),
                                                                   own.nbytes());
                            group.all_gather(bytes_of(own), bytes_of(space), lengths);
                            unpack(space, all);
                        });
}

WorkPtr MusterBackend::gather(std::vector<Tensors>& outputs, Tensors& inputs, const c10d::GatherOptions& options) {
    const auto input = only("gather", inputs);
    check_dense("gather", inputs);
    check_root("gather", options.rootRank);
    Tensors blocks;
    if (rank_ == options.rootRank) {
        TORCH_CHECK(outputs.size() == 1, "Backend muster: gather takes one list of outputs at the root");
        blocks = outputs.front();
        check_equal_blocks("gather", blocks, input);
    } else {
        TORCH_CHECK(outputs.empty(), "Backend muster: gather takes outputs at the root only");
    }
    return queue_->push({c10d::OpType::GATHER, "muster:gather", inputs, blocks, options.timeout},
                        [input, blocks, root = static_cast<int>(options.rootRank)](collective::Group& group) {
                            if (group.rank() == root) {
                                const auto space = space_for(blocks);
                                group.gather(bytes_of(pack({input})), bytes_of(space), lengths_of(blocks), root);
                                unpack(space, blocks);
                            } else {
                                const std::vector<std::size_t> lengths(static_cast<std::size_t>(group.size()),
                                                                       input.nbytes());
                                group.gather(bytes_of(pack({input})), {}, lengths, root);
                            }
                        });
}

WorkPtr MusterBackend::scatter(Tensors& outputs, std::vector<Tensors>& inputs, const c10d::ScatterOptions& options) {
    const auto output = only("scatter", outputs);
    check_dense("scatter", outputs);
    check_root("scatter", options.rootRank);
    Tensors blocks;
    if (rank_ == options.rootRank) {
        TORCH_CHECK(inputs.size() == 1, "Backend muster: scatter takes one list of inputs at the root");
        blocks = inputs.front();
        check_equal_blocks("scatter", blocks, output);
    } else {
        TORCH_CHECK(inputs.empty(), "Backend muster: scatter takes inputs at the root only");
    }
    return queue_->push({c10d::OpType::SCATTER, "muster:scatter", blocks, outputs, options.timeout},
                        [output, blocks, root = static_cast<int>(options.rootRank)](collective::Group& group) {
                            const auto space = space_for({output});
                            if (group.rank() == root) {
                                group.scatter(bytes_of(pack(blocks)), bytes_of(space), lengths_of(blocks), root);
                            } else {
                                const std::vector<std::size_t> lengths(static_cast<std::size_t>(group.size()),
                                                                       output.nbytes());
                                group.scatter({}, bytes_of(space), lengths, root);
                            }
                            unpack(space, {output});
                        });
}

WorkPtr MusterBackend::reduce_scatter(Tensors& outputs,
                                      std::vector<Tensors>& inputs,
                                      const c10d::ReduceScatterOptions& options) {
    const auto output = only("reduce_scatter", outputs);
    TORCH_CHECK(inputs.size() == 1, "Backend muster: reduce_scatter takes one list of inputs");
    const auto& blocks = inputs.front();
    check_reducible("reduce_scatter", outputs, options.reduceOp);
    check_blocks("reduce_scatter", blocks, output);
    return queue_->push({c10d::OpType::REDUCE_SCATTER, "muster:reduce_scatter", blocks, outputs, options.timeout},
                        [output, blocks, operation = options.reduceOp](collective::Group& group) {
                            scatter_reduced(group, output, blocks, lengths_of(blocks), operation);
                        });
}

WorkPtr
MusterBackend::_reduce_scatter_base(at::Tensor& output, at::Tensor& input, const c10d::ReduceScatterOptions& options) {
    Tensors outputs{output};
    Tensors inputs{input};
    return reduce_scatter_tensor_coalesced(outputs, inputs, options);
}

WorkPtr MusterBackend::reduce_scatter_tensor_coalesced(Tensors& outputs,
                                                       Tensors& inputs,
                                                       const c10d::ReduceScatterOptions& options) {
    check_reducible("reduce_scatter", outputs, options.reduceOp);
    check_dense("reduce_scatter", inputs);
    TORCH_CHECK(outputs.size() == inputs.size(), "Backend muster: reduce_scatter of as many outputs as inputs");
    for (std::size_t i = 0; i < inputs.size(); ++i) {
        check_one_type("reduce_scatter", {inputs[i], outputs[i]});
        TORCH_CHECK(inputs[i].numel() == outputs[i].numel() * size_,
                    "Backend muster: reduce_scatter needs an input of ",
                    size_,
                    " times the output's size");
    }
    return queue_->push({c10d::OpType::_REDUCE_SCATTER_BASE, "muster:reduce_scatter", inputs, outputs, options.timeout},
                        [outputs, inputs, operation = options.reduceOp](collective::Group& group) {
                            for (std::size_t i = 0; i < inputs.size(); ++i) {
                                const std::vector<std::size_t> lengths(static_cast<std::size_t>(group.size()),
                                                                       outputs[i].nbytes());
                                scatter_reduced(group, outputs[i], {inputs[i]}, lengths, operation);
                            }
                        });
}

WorkPtr MusterBackend::alltoall_base(at::Tensor& output,
                                     at::Tensor& input,
                                     std::vector<int64_t>& output_splits,
                                     std::vector<int64_t>& input_splits,
                                     const c10d::AllToAllOptions& options) {
    check_dense("alltoall_base", {output, input});
    check_one_type("alltoall_base", {input, output});
    auto sent = split_lengths(input, input_splits, size_);
    auto received = split_lengths(output, output_splits, size_);
    return queue_->push(
        {c10d::OpType::ALLTOALL_BASE, "muster:all_to_all", {input}, {output}, options.timeout},
        [output, input, sent = std::move(sent), received = std::move(received)](collective::Group& group) {
            const auto space = space_for({output});
            group.all_to_all(bytes_of(pack({input})), sent, bytes_of(space), received);
            unpack(space, {output});
        });
}

WorkPtr MusterBackend::alltoall(Tensors& outputs, Tensors& inputs, const c10d::AllToAllOptions& options) {
    const auto own = static_cast<std::size_t>(rank_);
    TORCH_CHECK(inputs.size() == static_cast<std::size_t>(size_),
                "Backend muster: alltoall needs one input for each rank");
    check_dense("alltoall", inputs);
    check_blocks("alltoall", outputs, inputs[own]);
    return queue_->push({c10d::OpType::ALLTOALL, "muster:all_to_all", inputs, outputs, options.timeout},
                        [outputs, inputs](collective::Group& group) {
                            const auto space = space_for(outputs);
                            group.all_to_all(
                                bytes_of(pack(inputs)), lengths_of(inputs), bytes_of(space), lengths_of(outputs));
                            unpack(space, outputs);
                        });
}

WorkPtr MusterBackend::barrier(const c10d::BarrierOptions& options) {
    return queue_->push({c10d::OpType::BARRIER, "muster:barrier", {}, {}, options.timeout},
                        [](collective::Group& group) { group.barrier(); });
}

} // namespace muster::process_group
