#include "worker/chain_check.h"

#include "worker/known_values.h"

#include <torch/csrc/jit/api/function_impl.h>

namespace muster::worker {
namespace {

namespace jit = torch::jit;

bool is_container(const jit::Module& module) {
    const std::string kind = module.type()->name()->name();
    return kind == "ModuleList" || kind == "Sequential";
}

bool maps_tensor_to_tensor(const jit::Module& module) {
    const jit::Function* const forward = module.type()->findMethod("forward");
    return forward != nullptr && forward->getSchema().arguments().size() == 2 &&
           forward->getSchema().returns().size() == 1 &&
           forward->getSchema().arguments()[1].type()->kind() == c10::TypeKind::TensorType &&
           forward->getSchema().returns()[0].type()->kind() == c10::TypeKind::TensorType;
}

/// Follows one tensor through forward().
class Follower {
public:
    Follower(const jit::Module& container, const std::vector<jit::Module>& layers)
        : container_{container}, layers_{layers} {}

    /// Whether forward() of `module` passes its input on through layers alone, and those in order.
    bool follow(const jit::Module& module) {
        const jit::Function* const forward = module.type()->findMethod("forward");
        if (forward == nullptr || !forward->isGraphFunction()) {
            return false;
        }
        const auto graph = jit::toGraphFunction(*forward).graph();
        if (graph->inputs().size() != 2 || graph->outputs().size() != 1) {
            return false;
        }
        KnownValues known;
        known.set(graph->inputs()[0], module._ivalue());
        const jit::Value* flow = graph->inputs()[1];
        for (const jit::Node* node : graph->nodes()) {
            if (node->kind() == c10::prim::CallMethod) {
                if (!passes(*node, known, flow)) {
                    return false;
                }
                flow = node->output();
            } else if (node->kind() == c10::prim::GetAttr || node->kind() == c10::prim::Constant) {
                known.evaluate(*node);
            } else {
                return false;
            }
        }
        return graph->outputs()[0] == flow;
    }

    [[nodiscard]] std::size_t passed() const { return next_; }

private:
    bool passes(const jit::Node& node, const KnownValues& known, const jit::Value* flow) {
        const Known object = known.of(node.input(0));
        if (!object || !object->isObject() || node.s(c10::attr::name) != "forward" || node.inputs().size() != 2 ||
            node.input(1) != flow) {
            return false;
        }
        const auto module = object->toObject();
        if (module == container_._ivalue()) {
            return follow(container_);
        }
        return next_ < layers_.size() && module == layers_[next_++]._ivalue();
    }

    const jit::Module& container_;
    const std::vector<jit::Module>& layers_;
    std::size_t next_{0};
};

} // namespace

void find_chain(const jit::Module& root, std::vector<jit::Module>& layers, std::string& why) {
    layers.clear();
    if (!root.hasattr("layers") || !root.attr("layers").isModule() || !is_container(root.attr("layers").toModule())) {
        why = "it has no attribute layers that is a ModuleList or Sequential";
        return;
    }
    const jit::Module container = root.attr("layers").toModule();
    std::vector<jit::Module> found;
    for (const auto& layer : container.named_children()) {
        if (!maps_tensor_to_tensor(layer.value)) {
            why = "layers." + layer.name + " does not map one tensor to one tensor";
            return;
        }
        if (layer.value.parameters().size() == 0) {
            why = "layers." + layer.name + " has no parameters; put it into the layer before it";
            return;
        }
        found.push_back(layer.value);
    }
    if (found.size() < 2) {
        why = "it has fewer than two layers";
        return;
    }
    Follower follower{container, found};
    if (!follower.follow(root) || follower.passed() != found.size()) {
        why = "its forward() does more than pass the input through its layers in order";
        return;
    }
    if (root.parameters().size() != container.parameters().size()) {
        why = "it has parameters outside its layers";
        return;
    }
    layers = std::move(found);
}

} // namespace muster::worker
