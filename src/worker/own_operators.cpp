#include "worker/own_operators.h"

#include <memory>
#include <string>

namespace muster::worker {
namespace {

class Resolver final : public torch::jit::NativeResolver {
public:
    std::shared_ptr<torch::jit::SugaredValue> resolveValue(const std::string& name,
                                                           torch::jit::GraphFunction& function,
                                                           const torch::jit::SourceRange& place) override {
        return name == "muster" ? std::make_shared<torch::jit::BuiltinModule>("muster")
                                : NativeResolver::resolveValue(name, function, place);
    }
};

} // namespace

torch::jit::ResolverPtr operator_resolver() {
    return std::make_shared<Resolver>();
}

} // namespace muster::worker
