/// Linear layers of ours: they add to gradients in place, or compute in bf16.
#pragma once

namespace muster::worker {

/// While it lives, backward of linear layers that the calling thread runs adds to the gradients that weights have
/// already, within the matrix product, in place of making new ones that are added afterwards. With many micro-batches
/// that spares half of the memory traffic of gradients. Hooks on these weights see the first gradient only, so it is
/// not for data parallelism, whose reducer lives by them. The first gradient of a weight is made as ever. Nothing of it
/// may be differentiated twice.
/// Source: Megatron-LM's gradient accumulation fusion (Korthikanti et al., "Reducing Activation Recomputation in Large
/// Transformer Models", MLSys 2023).
class AccumulationScope {
public:
    AccumulationScope();
    ~AccumulationScope();
    AccumulationScope(const AccumulationScope&) = delete;
    AccumulationScope& operator=(const AccumulationScope&) = delete;

private:
    bool before_;
};

/// The operator's name in the source of a network, which is defined with operator_resolver(): called as torch.linear
/// is, x [..., inputs], weight [outputs, inputs], bias [outputs].
/// A function, so that whoever uses the name links the operator.
[[nodiscard]] const char* accumulating_linear();

/// The same whose three products (forward, and backward for x and weight) are computed in bf16 with sums in fp32
/// (bf16_product.h) while a DropoutScope says that this is training; without one it is torch.linear, so that scores are
/// those of the archive. All that goes in and comes out is fp32. Needs Processor::bf16.
/// Source: Micikevicius et al., "Mixed Precision Training", ICLR 2018; bf16 needs no scaling of the loss (Kalamkar et
/// al., arXiv:1905.12322).
[[nodiscard]] const char* bf16_linear();

} // namespace muster::worker
