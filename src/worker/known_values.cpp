#include "worker/known_values.h"

#include <torch/csrc/jit/ir/constants.h>

#include <compare>

namespace muster::worker {
namespace {

namespace jit = torch::jit;

/// How two numbers, texts or truths compare; none: they do not.
std::optional<std::partial_ordering> compare(const c10::IValue& a, const c10::IValue& b) {
    if (a.isInt() && b.isInt()) {
        return a.toInt() <=> b.toInt();
    }
    if (a.isDouble() && b.isDouble()) {
        return a.toDouble() <=> b.toDouble();
    }
    if (a.isBool() && b.isBool()) {
        return static_cast<int>(a.toBool()) <=> static_cast<int>(b.toBool());
    }
    if (a.isString() && b.isString()) {
        return a.toStringRef().compare(b.toStringRef()) <=> 0;
    }
    return std::nullopt;
}

Known of_comparison(c10::Symbol kind, std::partial_ordering order) {
    switch (kind) {
    case c10::aten::eq:
        return order == std::partial_ordering::equivalent;
    case c10::aten::ne:
        return order != std::partial_ordering::equivalent;
    case c10::aten::lt:
        return order == std::partial_ordering::less;
    case c10::aten::le:
        return order == std::partial_ordering::less || order == std::partial_ordering::equivalent;
    case c10::aten::gt:
        return order == std::partial_ordering::greater;
    case c10::aten::ge:
        return order == std::partial_ordering::greater || order == std::partial_ordering::equivalent;
    default:
        return std::nullopt;
    }
}

} // namespace

void KnownValues::set(const jit::Value* value, const Known& known) {
    if (known) {
        values_.insert_or_assign(value, *known);
    }
}

Known KnownValues::of(const jit::Value* value) const {
    const auto found = values_.find(value);
    return found == values_.end() ? Known{} : Known{found->second};
}

std::vector<Known> KnownValues::of(at::ArrayRef<const jit::Value*> values) const {
    std::vector<Known> known;
    for (const jit::Value* value : values) {
        known.push_back(of(value));
    }
    return known;
}

std::vector<Known> KnownValues::of(at::ArrayRef<jit::Value*> values) const {
    std::vector<Known> known;
    for (const jit::Value* value : values) {
        known.push_back(of(value));
    }
    return known;
}

Known KnownValues::result_of(const jit::Node& node) const {
    switch (node.kind()) {
    case c10::prim::Constant:
        return node.output()->type()->kind() == c10::TypeKind::FunctionType ? Known{} : jit::toIValue(node.output());
    case c10::prim::GetAttr: {
        const Known object = of(node.input(0));
        return object && object->isObject() ? Known{object->toObjectRef().getAttr(node.s(c10::attr::name))} : Known{};
    }
    case c10::prim::unchecked_cast:
        return of(node.input(0));
    default:
        break;
    }
    const Known first = node.inputs().empty() ? Known{} : of(node.input(0));
    if (node.kind() == c10::aten::__not__) {
        return first && first->isBool() ? Known{!first->toBool()} : Known{};
    }
    const Known second = node.inputs().size() == 2 ? of(node.input(1)) : Known{};
    if (!first || !second) {
        return std::nullopt;
    }
    if (node.kind() == c10::aten::__is__ || node.kind() == c10::aten::__isnot__) {
        const bool both = first->isNone() && second->isNone();
        const bool one = first->isNone() != second->isNone();
        return both || one ? Known{both == (node.kind() == c10::aten::__is__)} : Known{};
    }
    const auto order = compare(*first, *second);
    return order ? of_comparison(node.kind(), *order) : Known{};
}

void KnownValues::evaluate(const jit::Node& node) {
    if (node.outputs().size() == 1) {
        set(node.output(), result_of(node));
    }
}

const jit::Function* called(const jit::Node& node) {
    const auto type = node.input(0)->type();
    if (node.kind() == c10::prim::CallFunction) {
        const auto function = type->cast<c10::FunctionType>();
        return function ? function->function() : nullptr;
    }
    const auto of = type->cast<c10::ClassType>();
    return of ? of->findMethod(node.s(c10::attr::name)) : nullptr;
}

} // namespace muster::worker
