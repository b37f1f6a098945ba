#include "worker/program_check.h"

#include "worker/allowed_operators.h"
#include "worker/chain_check.h"
#include "worker/known_values.h"

#include <fmt/format.h>
#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/ir/ir.h>

#include <algorithm>
#include <set>

namespace muster::worker {
namespace {

namespace jit = torch::jit;

constexpr std::size_t problems_max = 20;
constexpr std::int64_t nodes_max = 200'000;
constexpr int depth_max = 100;

std::string name_of(const jit::Node& node) {
    std::string name = node.kind().toQualString();
    if (const auto* const schema = node.maybeSchema(); schema != nullptr && !schema->overload_name().empty()) {
        name += "." + schema->overload_name();
    }
    return name;
}

bool writes(const jit::Node& node) {
    const auto* const schema = node.maybeSchema();
    return schema != nullptr && std::ranges::any_of(schema->arguments(), [](const c10::Argument& argument) {
               return argument.alias_info() != nullptr && argument.alias_info()->isWrite();
           });
}

bool is_random(std::string_view name) {
    return std::ranges::any_of(
        std::initializer_list<std::string_view>{
            "aten::rand", "aten::bernoulli", "aten::normal", "aten::multinomial", "aten::poisson", "aten::rrelu"},
        [&](std::string_view start) { return name.starts_with(start); });
}

/// What to do instead of an operator that is not in the table.
std::string_view advice(const jit::Node& node, std::string_view name) {
    if (is_random(name)) {
        return "random numbers would make the result depend on how the rows are shared";
    }
    if (name.starts_with("aten::dropout") || name.find("dropout") != std::string_view::npos) {
        return "what is dropped would depend on how the rows are shared; take the module out, or give it p=0";
    }
    if (name == "aten::batch_norm" || name == "aten::instance_norm" || name.starts_with("aten::native_batch_norm")) {
        return "its statistics would depend on how the rows are shared; LayerNorm and GroupNorm are allowed";
    }
    if (name == "prim::SetAttr") {
        return "an attribute that changes would make the result depend on the order of steps";
    }
    if (name == "prim::CreateObject") {
        return "a network is made of modules and tensors, objects of other classes are not allowed";
    }
    if (name.starts_with("aten::save") || name.starts_with("aten::from_file")) {
        return "a network reads and writes no files";
    }
    if (writes(node)) {
        return "it changes a tensor in place; use the form that gives a new one, such as x = x + y";
    }
    return "allowed is what api/user-models.md lists";
}

class Check {
public:
    explicit Check(ProgramFacts& facts) : facts_{facts} {}

    /// Every function there is.
    void look_at(const jit::Function& function) {
        if (!function.isGraphFunction()) {
            problem(fmt::format("{} is no TorchScript", function.qualname().qualifiedName()));
            return;
        }
        look_at(*jit::toGraphFunction(function).graph()->block(), function.qualname().qualifiedName());
    }

    /// What comes to run when `function` is called with these inputs.
    std::vector<Known> run(const jit::Function& function, const std::vector<Known>& inputs, int depth = 0) {
        const std::string name = function.qualname().qualifiedName();
        if (!function.isGraphFunction() || depth > depth_max) {
            problem(name + " cannot be looked through: it is no TorchScript, or calls go too deep");
            return {};
        }
        const auto graph = jit::toGraphFunction(function).graph();
        KnownValues known;
        for (std::size_t i = 0; i < graph->inputs().size() && i < inputs.size(); ++i) {
            known.set(graph->inputs()[i], inputs[i]);
        }
        run(*graph->block(), known, name, depth);
        return known.of(graph->outputs());
    }

    void problem(std::string sentence) {
        if (facts_.problems.size() < problems_max &&
            std::ranges::find(facts_.problems, sentence) == facts_.problems.end()) {
            facts_.problems.push_back(std::move(sentence));
        }
    }

    [[nodiscard]] const std::set<std::string>& operators() const { return operators_; }

private:
    void look_at(const jit::Block& block, const std::string& function) {
        for (const jit::Node* node : block.nodes()) {
            const std::string name = name_of(*node);
            operators_.insert(name);
            if (find_operator(name) == nullptr) {
                problem(fmt::format("{} uses {}: {}", function, name, advice(*node, name)));
            }
            for (const auto attribute : node->attributeNames()) {
                if (node->kindOf(attribute) == jit::AttributeKind::g ||
                    node->kindOf(attribute) == jit::AttributeKind::gs) {
                    problem(fmt::format(
                        "{} has a graph within {}, which TorchScript source does not make", function, name));
                }
            }
            for (const jit::Block* inner : node->blocks()) {
                look_at(*inner, function);
            }
        }
    }

    void run(const jit::Block& block, KnownValues& known, const std::string& function, int depth) {
        for (const jit::Node* node : block.nodes()) {
            if (++nodes_ > nodes_max) {
                problem("the program is longer than a network's is");
                return;
            }
            step(*node, known, function, depth);
        }
    }

    void step(const jit::Node& node, KnownValues& known, const std::string& function, int depth) {
        switch (node.kind()) {
        case c10::prim::If:
            return branch(node, known, function, depth);
        case c10::prim::Loop:
            return run(*node.blocks()[0], known, function, depth); // what it carries from turn to turn is not known
        case c10::prim::CallMethod:
        case c10::prim::CallFunction:
            return call(node, known, function, depth);
        default:
            check(node, known, function);
            known.evaluate(node);
        }
    }

    void branch(const jit::Node& node, KnownValues& known, const std::string& function, int depth) {
        const Known condition = known.of(node.input(0));
        if (!condition || !condition->isBool()) {
            run(*node.blocks()[0], known, function, depth);
            run(*node.blocks()[1], known, function, depth);
            return;
        }
        const jit::Block& taken = *node.blocks()[condition->toBool() ? 0 : 1];
        run(taken, known, function, depth);
        for (std::size_t i = 0; i < node.outputs().size(); ++i) {
            known.set(node.outputs()[i], known.of(taken.outputs()[i]));
        }
    }

    void call(const jit::Node& node, KnownValues& known, const std::string& function, int depth) {
        const jit::Function* callee = called(node);
        if (callee == nullptr) {
            problem(function + " calls a method of an interface, or of what is not known before it runs");
            return;
        }
        const std::size_t first = node.kind() == c10::prim::CallFunction ? 1 : 0;
        const std::vector<Known> results = run(*callee, known.of(node.inputs().slice(first)), depth + 1);
        for (std::size_t i = 0; i < node.outputs().size() && i < results.size() && node.outputs().size() == 1; ++i) {
            known.set(node.outputs()[i], results[i]);
        }
    }

    void check(const jit::Node& node, const KnownValues& known, const std::string& function) {
        const std::string name = name_of(node);
        const AllowedOperator* const row = find_operator(name);
        if (row == nullptr) {
            return; // looked at already
        }
        if (row->use == OperatorUse::present) {
            problem(fmt::format("{} uses {}: {}", function, name, advice(node, name)));
            return;
        }
        if (name == "aten::append.t" && node.input(0)->node()->kind() != c10::prim::ListConstruct) {
            problem(function + " appends to a list that it has not made");
        }
        if (row->dropout_at >= 0) {
            const Known part = known.of(node.input(static_cast<std::size_t>(row->dropout_at)));
            if (!part || !part->isDouble() || part->toDouble() != 0.0) {
                problem(fmt::format("{} uses {}{}: {}",
                                    function,
                                    name,
                                    part && part->isDouble() ? fmt::format(" with p={}", part->toDouble()) : "",
                                    advice(node, "aten::dropout")));
            }
        }
    }

    ProgramFacts& facts_;
    std::set<std::string> operators_;
    std::int64_t nodes_{0};
};

/// Modules that are better refused by their own names than by their operators.
void check_modules(const jit::Module& root, Check& check) {
    for (const auto& part : root.named_modules()) {
        const std::string kind = part.value.type()->name()->name();
        const std::string name = part.name.empty() ? "the model" : "the module " + part.name;
        if (kind.starts_with("BatchNorm") || kind == "SyncBatchNorm") {
            check.problem(fmt::format("{} is a {}: its statistics would depend on how the rows are shared; LayerNorm "
                                      "and GroupNorm are allowed",
                                      name,
                                      kind));
        }
        if (kind.find("Dropout") != std::string::npos) {
            const auto constant = part.value.type()->findConstant("p");
            if (!constant || !constant->isDouble() || constant->toDouble() != 0.0) {
                check.problem(fmt::format("{} is a {}{}: what is dropped would depend on how the rows are shared; take "
                                          "it out, or give it p=0",
                                          name,
                                          kind,
                                          constant && constant->isDouble() ? fmt::format("(p={})", constant->toDouble())
                                                                           : std::string{}));
            }
        }
    }
}

} // namespace

ProgramFacts check_program(const UntrustedArchive& archive) {
    ProgramFacts facts;
    Check check{facts};
    check_modules(archive.root, check);
    for (const jit::Function* function : archive.unit->get_functions()) {
        check.look_at(*function);
    }
    facts.operators.assign(check.operators().begin(), check.operators().end());
    const jit::Function* const forward = archive.root.type()->findMethod("forward");
    if (forward == nullptr || forward->getSchema().arguments().size() != 2 ||
        forward->getSchema().returns().size() != 1 ||
        forward->getSchema().arguments()[1].type()->kind() != c10::TypeKind::TensorType ||
        forward->getSchema().returns()[0].type()->kind() != c10::TypeKind::TensorType) {
        check.problem("the model has no forward(self, x: Tensor) -> Tensor");
        return facts;
    }
    check.run(*forward, {archive.root._ivalue(), std::nullopt});
    find_chain(archive.root, facts.layers, facts.no_chain);
    return facts;
}

} // namespace muster::worker
