#include "base/fd.h"
#include "worker/allowed_operators.h"
#include "worker/program.h"
#include "worker/testing_matrix.h"
#include "worker/user_model.h"

#include <ATen/Functions.h>
#include <fcntl.h>
#include <gtest/gtest.h>

namespace muster::worker {
namespace {

namespace jit = torch::jit;

/// A linear layer as torch.nn.Linear is scripted.
jit::Module linear(const std::string& name, std::int64_t inputs, std::int64_t outputs) {
    jit::Module module{"__torch__." + name};
    module.register_attribute("training", c10::BoolType::get(), true);
    module.register_parameter("weight", at::ones({outputs, inputs}).requires_grad_(true), false);
    module.register_parameter("bias", at::zeros({outputs}).requires_grad_(true), false);
    module.define("def forward(self, x: Tensor) -> Tensor:\n    return torch.linear(x, self.weight, self.bias)\n");
    return module;
}

/// A network of one linear layer of two columns, whose forward() is `body`.
jit::Module network(const std::string& body) {
    jit::Module module{"__torch__.Net"};
    module.register_attribute("training", c10::BoolType::get(), true);
    module.register_module("one", linear("Linear", 2, 3));
    module.define("def forward(self, x: Tensor) -> Tensor:\n" + body);
    return module;
}

/// Three layers, and forward() as given.
jit::Module layered(const std::string& body, const std::string& container = "ModuleList") {
    jit::Module layers{"__torch__.torch.nn.modules.container." + container};
    layers.register_module("0", linear("A", 2, 4));
    layers.register_module("1", linear("B", 4, 4));
    layers.register_module("2", linear("C", 4, 1));
    jit::Module module{"__torch__.Net"};
    module.register_module("layers", layers);
    module.define("def forward(self, x: Tensor) -> Tensor:\n" + body);
    return module;
}

const std::string chain = "    x = getattr(self.layers, \"0\").forward(x)\n"
                          "    x = getattr(self.layers, \"1\").forward(x)\n"
                          "    return getattr(self.layers, \"2\").forward(x)\n";

class UserModels : public testing::Test {
protected:
    [[nodiscard]] Result<UserModel> open(const jit::Module& module) const {
        const std::string path = folder_.path() / "net.pt";
        module.save(path);
        return open_file(path);
    }
    [[nodiscard]] static Result<UserModel> open_file(const std::string& path) {
        const UniqueFd file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
        return UserModel::open(file.get(), nullptr);
    }
    /// All that is said against a module, before it runs or on two rows of two columns.
    [[nodiscard]] std::string refusal(const jit::Module& module, std::int64_t outputs = 3) const {
        auto model = open(module);
        if (!model) {
            return model.error().text();
        }
        const auto probed = model->probe(recipe(), at::arange(4.0, at::kFloat).reshape({2, 2}), outputs);
        return probed ? "" : probed.error().text();
    }
    [[nodiscard]] std::string refusal(const std::string& body) const { return refusal(network(body)); }
    [[nodiscard]] static Recipe recipe() {
        return {.name = "own",
                .model = {.family = "torchscript", .archive = ModelArchive{std::string(64, 'a'), 1, 0}},
                .loss = Loss::mse};
    }
    [[nodiscard]] const TestingFolder& folder() const { return folder_; }

private:
    TestingFolder folder_;
};

bool has(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

TEST(AllowedOperators, are_sorted_and_each_is_found) {
    const auto table = allowed_operators();
    EXPECT_TRUE(std::ranges::is_sorted(table, {}, &AllowedOperator::name));
    EXPECT_EQ(std::ranges::adjacent_find(table, {}, &AllowedOperator::name), table.end());
    for (const AllowedOperator& row : table) {
        EXPECT_EQ(find_operator(row.name), &row);
    }
}

TEST(AllowedOperators, hold_nothing_that_reaches_out_of_the_program_or_out_of_a_tensor) {
    for (const char* name : {"aten::save",
                             "aten::from_file",
                             "aten::_reshape_alias",
                             "aten::as_strided",
                             "aten::set_.source_Tensor",
                             "aten::resize_",
                             "aten::empty.memory_format",
                             "aten::rand",
                             "aten::bernoulli",
                             "aten::unsafe_split.Tensor",
                             "prim::SetAttr",
                             "prim::CreateObject",
                             "c10d::send",
                             ""}) {
        EXPECT_EQ(find_operator(name), nullptr) << name;
    }
}

TEST_F(UserModels, take_a_network_as_it_is) {
    auto model = open(network("    return torch.relu(self.one.forward(x))\n"));
    ASSERT_TRUE(model.ok()) << model.error().text();
    EXPECT_EQ(model->facts().parameters, 9);
    EXPECT_EQ(model->facts().blocks, 0);
    EXPECT_EQ(model->facts().number_type, "fp32");
    const auto probed = model->probe(recipe(), at::arange(4.0, at::kFloat).reshape({2, 2}), 3);
    EXPECT_TRUE(probed.ok()) << probed.error().text();
    const Preprocessing preprocessing{.inputs = {{.name = "a"}, {.name = "b"}}, .target = {.name = "y"}};
    auto program = ModelProgram::build(recipe(), preprocessing, {}, &*model);
    ASSERT_TRUE(program.ok());
    EXPECT_EQ(program->forward(at::ones({1, 2})).sizes(), (std::vector<std::int64_t>{1, 3}));
    program->parameters()[0].mutable_data_ptr<float>()[0] = 7.0F; // of the copy: the archive is only read
    EXPECT_NE(program->parameters_digest(),
              ModelProgram::build(recipe(), preprocessing, {}, &*model)->parameters_digest());
    EXPECT_FALSE(ModelProgram::build(recipe(), preprocessing).ok());
}

TEST_F(UserModels, name_what_they_refuse) {
    const std::vector<std::pair<std::string, std::string>> cases{
        {"    torch.save(x, \"made\")\n    return self.one.forward(x)\n",
         "aten::save: a network reads and writes no files"},
        {"    return torch.from_file(\"/etc/passwd\", False, 6).reshape([2, 3])\n", "aten::from_file"},
        {"    return self.one.forward(torch.as_strided(x, [2, 2], [1, 9]))\n", "aten::as_strided"},
        {"    return self.one.forward(x) + torch.rand([1])\n", "aten::rand: random numbers"},
        {"    return torch.dropout(self.one.forward(x), 0.5, True)\n", "dropout with p=0.5"},
        {"    y = self.one.forward(x)\n    y += 1\n    return y\n", "changes a tensor in place"},
        {"    self.training = False\n    return self.one.forward(x)\n", "prim::SetAttr"},
        {"    return self.one.forward(x)[0]\n", "gives [3], needs [2, ...]"},
        {"    return self.one.forward(x)[:, :2]\n", "gives [2, 2], needs [2, 3]"},
        {"    return self.one.forward(x).to(7)\n", "gives Double, needs Float"},
        {"    return self.one.forward(x) / 0\n", "not finite"},
        {"    y = self.one.forward(x)\n    return y - y.mean(0)\n", "for a row alone"},
        {"    return torch.linear(x, self.one.weight)\n", "one.bias gets no gradient"},
        {"    return torch.linear(x.detach(), torch.ones([3, 2]))\n", "one.weight gets no gradient"},
        {"    assert x.size(0) == 7, \"no luck\"\n    return x\n", "no luck"},
    };
    for (const auto& [body, words] : cases) {
        const std::string why = refusal(body);
        EXPECT_TRUE(has(why, words)) << body << why;
        EXPECT_TRUE(has(why, "/model/archive")) << why;
    }
}

TEST_F(UserModels, do_not_mind_what_is_never_run) {
    EXPECT_EQ(refusal("    y = self.one.forward(x)\n    if self.training:\n        y.add_(1.0)\n    return y\n"), "");
    EXPECT_EQ(refusal("    y = torch.dropout(self.one.forward(x), 0.0, True)\n    return y\n"), "");
    EXPECT_NE(
        refusal("    y = self.one.forward(x)\n    if self.training:\n        torch.save(y, \"made\")\n    return y\n"),
        "");
}

TEST_F(UserModels, look_into_every_function_whether_it_is_called_or_not) {
    jit::Module module = network("    return self.one.forward(x)\n");
    module.define("def other(self, x: Tensor) -> Tensor:\n    if x.size(0) > 1:\n        torch.save(x, \"made\")\n    "
                  "return x\n");
    EXPECT_TRUE(has(refusal(module), "other uses aten::save"));
}

TEST_F(UserModels, refuse_code_that_would_run_while_they_are_loaded) {
    jit::Module module = network("    return self.one.forward(x)\n");
    module.define("def __getstate__(self) -> int:\n    return 1\n"
                  "def __setstate__(self, state: int) -> None:\n    torch.save(torch.ones([1]), \"" +
                  (folder().path() / "made").string() + "\")\n");
    EXPECT_TRUE(has(refusal(module), "__setstate__"));
    EXPECT_FALSE(std::filesystem::exists(folder().path() / "made"));
}

TEST_F(UserModels, refuse_modules_by_name_whose_results_would_depend_on_the_shares) {
    jit::Module norm{"__torch__.torch.nn.modules.batchnorm.BatchNorm1d"};
    norm.define("def forward(self, x: Tensor) -> Tensor:\n    return x\n");
    jit::Module whole{"__torch__.Whole"};
    whole.register_module("one", linear("Linear", 2, 3));
    whole.register_module("norm", norm);
    whole.define("def forward(self, x: Tensor) -> Tensor:\n    return self.norm.forward(self.one.forward(x))\n");
    EXPECT_TRUE(has(refusal(whole), "the module norm is a BatchNorm1d"));
    EXPECT_TRUE(has(refusal(whole), "LayerNorm and GroupNorm"));
}

TEST_F(UserModels, say_everything_that_is_wrong_at_once) {
    const std::string why = refusal("    torch.save(x, \"made\")\n    return self.one.forward(x) + torch.rand([1])\n");
    EXPECT_TRUE(has(why, "aten::save") && has(why, "aten::rand")) << why;
}

TEST_F(UserModels, refuse_files_that_are_none) {
    const std::string path = folder().path() / "net.pt";
    network("    return self.one.forward(x)\n").save(path);
    const auto bytes = std::filesystem::file_size(path);
    for (const auto size : {bytes / 2, std::uintmax_t{10}, std::uintmax_t{0}}) {
        std::filesystem::resize_file(path, size);
        EXPECT_TRUE(has(open_file(path).error().text(), "cannot be used")) << size;
    }
    std::ofstream{path} << "no archive at all, but long enough to be looked at by anybody";
    EXPECT_FALSE(open_file(path).ok());
}

TEST_F(UserModels, refuse_parameters_that_are_not_trained_or_shared) {
    jit::Module frozen = network("    return self.one.forward(x)\n");
    frozen.attr("one").toModule().attr("bias").toTensor().requires_grad_(false);
    EXPECT_TRUE(has(refusal(frozen), "one.bias does not require a gradient"));
    jit::Module tied{"__torch__.Net"};
    const at::Tensor weight = at::ones({2, 2}).requires_grad_(true);
    tied.register_parameter("a", weight, false);
    tied.register_parameter("b", weight, false);
    tied.define("def forward(self, x: Tensor) -> Tensor:\n    return torch.linear(torch.linear(x, self.a), self.b)\n");
    EXPECT_TRUE(has(refusal(tied, 2), "a and b share memory"));
}

TEST_F(UserModels, know_a_chain_by_its_code) {
    auto model = open(layered(chain));
    ASSERT_TRUE(model.ok()) << model.error().text();
    EXPECT_EQ(model->facts().blocks, 3);
    EXPECT_EQ(model->facts().no_chain, "");
    EXPECT_TRUE(model->probe(recipe(), at::arange(4.0, at::kFloat).reshape({2, 2}), 1).ok());
    EXPECT_EQ(model->output_sizes(1), std::vector<std::int64_t>{4});
    const std::vector<std::pair<std::string, std::string>> others{
        {"    return getattr(self.layers, \"2\").forward(getattr(self.layers, \"0\").forward(x))\n", "in order"},
        {"    x = getattr(self.layers, \"0\").forward(x)\n    x = x + getattr(self.layers, \"1\").forward(x)\n"
         "    return getattr(self.layers, \"2\").forward(x)\n",
         "does more"},
    };
    for (const auto& [body, words] : others) {
        auto other = open(layered(body));
        ASSERT_TRUE(other.ok()) << other.error().text();
        EXPECT_EQ(other->facts().blocks, 0);
        EXPECT_TRUE(has(other->facts().no_chain, words)) << other->facts().no_chain;
    }
    EXPECT_EQ(open(layered(chain, "ModuleDict"))->facts().blocks, 0);
}

TEST_F(UserModels, are_cut_into_stages_that_together_are_the_whole) {
    auto model = open(layered(chain));
    ASSERT_TRUE(model.ok());
    Recipe recipe = UserModels::recipe();
    recipe.model.archive->blocks = 3;
    const auto fits = model->check_recipe(recipe);
    ASSERT_TRUE(fits.ok()) << fits.error().text();
    const Preprocessing preprocessing{.inputs = {{.name = "a"}, {.name = "b"}}, .target = {.name = "y"}};
    const auto part = [&](ModelStage stage) {
        return ModelProgram::build(recipe, preprocessing, stage, &*model).value();
    };
    auto whole = part({});
    auto first = part({.first_block = 0, .blocks = 1});
    auto rest = part({.first_block = 1, .blocks = 2});
    const at::Tensor rows = at::arange(4.0, at::kFloat).reshape({2, 2});
    EXPECT_TRUE(rest.forward(first.forward(rows)).equal(whole.forward(rows)));
    EXPECT_EQ(first.parameter_count() + rest.parameter_count(), whole.parameter_count());
    const auto names = parameter_shapes(recipe, preprocessing, {}, &*model).value();
    const auto own = parameter_shapes(recipe, preprocessing, {.first_block = 1, .blocks = 2}, &*model).value();
    EXPECT_EQ(own.front().name, names[2].name);
    EXPECT_EQ(own.front().name, "layers.1.weight");
    EXPECT_FALSE(ModelProgram::build(recipe, preprocessing, {.first_block = 2, .blocks = 2}, &*model).ok());
}

TEST_F(UserModels, have_to_be_those_of_the_recipe) {
    auto model = open(layered(chain));
    ASSERT_TRUE(model.ok());
    Recipe recipe = UserModels::recipe();
    EXPECT_TRUE(has(model->check_recipe(recipe).error().text(), "says 0 blocks, the archive has 3"));
    recipe.model.archive->blocks = 3;
    recipe.number_type = NumberType::fp64;
    EXPECT_TRUE(has(model->check_recipe(recipe).error().text(), "module.double()"));
}

} // namespace
} // namespace muster::worker
