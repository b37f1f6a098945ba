#include "worker/accumulating_linear.h"
#include "worker/dropout.h"
#include "worker/families.h"
#include "worker/own_operators.h"
#include "worker/split_mix.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Functions.h>
#include <fmt/format.h>

#include <cmath>
#include <string>
#include <string_view>

namespace muster::worker {
namespace {

constexpr double deviation = 0.02;
constexpr std::int64_t perceptron_widths = 4;
constexpr std::int64_t sites_of_block = 8; ///< of dropout, at most

// "$h" stands for h with dropout, "@linear" for the layer that its block is trained with.
constexpr const char* embedding_source = R"(
def forward(self, tokens: Tensor) -> Tensor:
    x = torch.embedding(self.token, tokens)
    return $x
)";

// Queries and keys are turned by angles that grow with their place (rotary position embedding, Su et al. 2021), so what
// attention sees of places is how far apart they are. Neighbouring numbers are one complex number: a turn is one
// product, of which backward keeps nothing. 9.21 is ln(10000).
constexpr const char* decoder_source = R"(
def forward(self, x: Tensor) -> Tensor:
    n = x.size(0)
    t = x.size(1)
    w = x.size(2)
    h = torch.layer_norm(x, [w], self.norm_1_weight, self.norm_1_bias)
    h = @linear(h, self.attention_weight, self.attention_bias)
    h = h.view([n, t, 3, self.heads, w // self.heads]).permute([2, 0, 3, 1, 4])
    half = w // self.heads // 2
    speed = torch.exp(torch.arange(half, dtype=x.dtype, device=x.device) * (-9.210340371976184 / half))
    angle = torch.arange(t, dtype=x.dtype, device=x.device).unsqueeze(1) * speed
    turn = torch.polar(torch.ones_like(angle), angle)
    q, k, v = h.unbind(0)
    q = torch.view_as_real(torch.view_as_complex(q.unflatten(-1, [half, 2])) * turn).flatten(-2)
    k = torch.view_as_real(torch.view_as_complex(k.unflatten(-1, [half, 2])) * turn).flatten(-2)
    h = torch.scaled_dot_product_attention(q, k, v, None, 0.0, True)
    h = h.transpose(1, 2).reshape([n, t, w])
    h = @linear(h, self.out_weight, self.out_bias)
    x = x + $h
    h = torch.layer_norm(x, [w], self.norm_2_weight, self.norm_2_bias)
    h = torch.gelu(@linear(h, self.up_weight, self.up_bias))
    h = @linear(h, self.down_weight, self.down_bias)
    return x + $h
)";

constexpr const char* head_source = R"(
def forward(self, x: Tensor) -> Tensor:
    x = torch.layer_norm(x, [x.size(2)], self.norm_weight, self.norm_bias)
    return @linear(x, self.weight, self.bias)
)";

const char* linear_of(const Recipe& recipe, Weights weights) {
    if (weights == Weights::absent) {
        return "torch.linear";
    }
    return recipe.number_type == NumberType::bf16 ? bf16_linear() : accumulating_linear();
}

/// One block of the chain under construction.
class Block {
public:
    Block(const char* kind, std::int64_t position, const Recipe& recipe, Weights weights)
        : module_{fmt::format("__torch__.muster.{}_{}", kind, position)}, type_{scalar_type(recipe)}, weights_{weights},
          linear_{linear_of(recipe, weights)}, position_{position}, dropout_{recipe.model.dropout},
          generator_{at::detail::createCPUGenerator(seed_of(recipe.seed, position))} {}

    void normal(const std::string& name, at::IntArrayRef shape, double scale = 1.0) {
        add(name, shape, [&](at::Tensor values) { values.normal_(0.0, deviation * scale, generator_); });
    }
    void zeros(const std::string& name, std::int64_t size) {
        add(name, {size}, [](at::Tensor values) { values.zero_(); });
    }
    void linear(const std::string& name, std::int64_t outputs, std::int64_t inputs, double scale = 1.0) {
        const std::string prefix = name.empty() ? "" : name + "_";
        normal(prefix + "weight", {outputs, inputs}, scale);
        zeros(prefix + "bias", outputs);
    }
    void norm(const std::string& name, std::int64_t width) {
        add(name + "_weight", {width}, [](at::Tensor values) { values.fill_(1.0); });
        zeros(name + "_bias", width);
    }
    void whole(const char* name, std::int64_t value) { module_.register_attribute(name, c10::IntType::get(), value); }
    torch::jit::Module with(std::string source) {
        std::int64_t site = position_ * sites_of_block;
        for (std::size_t at = source.find('$'); at != std::string::npos; at = source.find('$')) {
            source.replace(at, 2, dropout_call(source.substr(at + 1, 1), site++, dropout_));
        }
        constexpr std::string_view mark = "@linear";
        for (std::size_t at = source.find(mark); at != std::string::npos; at = source.find(mark)) {
            source.replace(at, mark.size(), linear_);
        }
        module_.define(source, operator_resolver());
        return module_;
    }

private:
    /// The number at `position`: neighbouring ones are not related.
    static std::uint64_t seed_of(std::uint64_t seed, std::int64_t position) {
        SplitMix random{seed};
        for (std::int64_t i = 0; i < position; ++i) {
            (void)random.next();
        }
        return random.next();
    }
    template <typename Fill>
    void add(const std::string& name, at::IntArrayRef shape, Fill fill) {
        const bool drawn = weights_ == Weights::drawn;
        at::Tensor values =
            at::empty(shape, drawn ? at::TensorOptions{at::kDouble} : at::TensorOptions{type_}.device(at::kMeta));
        if (drawn) {
            fill(values);
        }
        module_.register_parameter(name, values.to(type_).requires_grad_(true), false);
    }

    torch::jit::Module module_;
    at::ScalarType type_;
    Weights weights_;
    std::string linear_; ///< the operator
    std::int64_t position_;
    double dropout_;
    at::Generator generator_;
};

torch::jit::Module decoder(const Recipe& recipe, std::int64_t position, Weights weights) {
    const std::int64_t width = recipe.model.width;
    const double residual = 1.0 / std::sqrt(2.0 * static_cast<double>(recipe.model.layers));
    Block block{"Decoder", position, recipe, weights};
    block.whole("heads", recipe.model.heads);
    block.norm("norm_1", width);
    block.linear("attention", 3 * width, width);
    block.linear("out", width, width, residual);
    block.norm("norm_2", width);
    block.linear("up", perceptron_widths * width, width);
    block.linear("down", width, perceptron_widths * width, residual);
    return block.with(decoder_source);
}

torch::jit::Module embedding(const Recipe& recipe, std::int64_t vocabulary, Weights weights) {
    Block block{"Embedding", 0, recipe, weights};
    block.normal("token", {vocabulary, recipe.model.width});
    return block.with(embedding_source);
}

torch::jit::Module head(const Recipe& recipe, std::int64_t position, std::int64_t vocabulary, Weights weights) {
    Block block{"Head", position, recipe, weights};
    block.norm("norm", recipe.model.width);
    block.linear("", vocabulary, recipe.model.width);
    return block.with(head_source);
}

} // namespace

torch::jit::Module
build_transformer(const Recipe& recipe, std::int64_t vocabulary, Weights weights, const ModelStage& stage) {
    const std::int64_t last = block_count(recipe) - 1;
    const ModelStage part = stage.whole() ? ModelStage{.first_block = 0, .blocks = last + 1} : stage;
    torch::jit::Module layers{"__torch__.muster.Layers"};
    std::string source = "def forward(self, x: Tensor) -> Tensor:\n";
    for (std::int64_t position = part.first_block; position < part.end(); ++position) {
        layers.register_module(std::to_string(position),
                               position == 0      ? embedding(recipe, vocabulary, weights)
                               : position == last ? head(recipe, position, vocabulary, weights)
                                                  : decoder(recipe, position, weights));
        source += fmt::format("    x = getattr(self, \"{}\").forward(x)\n", position);
    }
    layers.define(source + "    return x\n");
    torch::jit::Module root{"__torch__.muster.Transformer"};
    root.register_module("layers", layers);
    root.define("def forward(self, tokens: Tensor) -> Tensor:\n    return self.layers.forward(tokens)\n");
    return root;
}

} // namespace muster::worker
