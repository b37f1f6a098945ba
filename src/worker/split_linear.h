/// Linear layers whose weight's gradient is ready before their input's, so that sending it hides behind computing.
#pragma once

namespace muster::worker {

/// Makes aten::linear, in this process from now on, a pair of nodes in the backward graph: the first gives the
/// gradients of weight and bias, the second that of the input. PyTorch's own node gives all three at once, after which
/// a small model has next to nothing left to compute while its largest weight travels. The same products are computed.
/// Any thread; later calls do nothing.
void split_linear_backward();

} // namespace muster::worker
