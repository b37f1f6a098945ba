#include "base/digest.h"
#include "base/fd.h"
#include "base/file.h"
#include "boxed_driver.h"
#include "worker/program.h"
#include "worker/testing_text_problem.h"

#include <ATen/Functions.h>
#include <fcntl.h>
#include <torch/csrc/jit/serialization/import.h>

#include <cstring>
#include <fstream>

namespace muster::app::testing {
namespace {

/// A safetensors file, read as its format says and no other way.
struct WeightsFile {
    nlohmann::json header; ///< without the metadata
    nlohmann::json metadata;
    std::string numbers;

    explicit WeightsFile(const std::string& bytes) {
        std::uint64_t length = 0;
        for (std::size_t i = 0; i < 8; ++i) {
            length |= static_cast<std::uint64_t>(static_cast<unsigned char>(bytes.at(i))) << (8 * i);
        }
        header = nlohmann::json::parse(bytes.substr(8, length));
        metadata = header.at("__metadata__");
        header.erase("__metadata__");
        numbers = bytes.substr(8 + length);
        EXPECT_EQ((8 + length) % 64, 0U);
    }
    /// The tensor, and false when its place or type is not that of the numbers in the file.
    [[nodiscard]] at::Tensor tensor(const std::string& name) const {
        const nlohmann::json& entry = header.at(name);
        const auto begin = entry.at("data_offsets").at(0).get<std::size_t>();
        const auto end = entry.at("data_offsets").at(1).get<std::size_t>();
        const auto type = entry.at("dtype") == "F64" ? at::kDouble : at::kFloat;
        at::Tensor made = at::empty(entry.at("shape").get<std::vector<std::int64_t>>(), type);
        EXPECT_EQ(made.nbytes(), end - begin) << name;
        std::memcpy(made.data_ptr(), numbers.substr(begin, end - begin).data(), made.nbytes());
        return made;
    }
    /// Whether the tensors cover the numbers without gap or overlap.
    [[nodiscard]] bool is_covered() const {
        std::map<std::size_t, std::size_t> places;
        for (const auto& entry : header) {
            places[entry["data_offsets"][0]] = entry["data_offsets"][1];
        }
        std::size_t at = 0;
        for (const auto& [begin, end] : places) {
            if (begin != at || end < begin) {
                return false;
            }
            at = end;
        }
        return at == numbers.size();
    }
};

class Export : public BoxedTest {
protected:
    [[nodiscard]] std::string output() const { return folder().path() / "model.safetensors"; }
    [[nodiscard]] BoxedDone run(const std::vector<std::string>& more = {},
                                const std::filesystem::path& program = MUSTER_WORKER_PROGRAM,
                                std::vector<std::string> before = {}) const {
        const UniqueFd file{::open(output().c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
        before.insert(before.end(), {"export", "--model", model(), "--output-fd", std::to_string(file.get())});
        before.insert(before.end(), more.begin(), more.end());
        return run_boxed(before, program, {file.get()});
    }
    [[nodiscard]] WeightsFile written() const { return WeightsFile{*read_file(output())}; }
    /// That the file has what the program has, and gives its metadata.
    void expect_weights_of(const worker::ModelProgram& program, std::size_t tensors) const {
        program.export_archive(model());
        const auto done = run();
        ASSERT_EQ(done.status, "") << done.output;
        EXPECT_EQ(done.json()["tensors"], tensors);
        EXPECT_EQ(done.json()["bytes"], std::filesystem::file_size(output()));
        const WeightsFile file = written();
        EXPECT_TRUE(file.is_covered());
        EXPECT_EQ(file.header.size(), tensors);
        const auto archive = torch::jit::load(model());
        for (const auto& parameter : archive.attr("body").toModule().named_parameters()) {
            EXPECT_TRUE(file.tensor(parameter.name).equal(parameter.value)) << parameter.name;
        }
    }
    /// A good archive, changed.
    void write_changed(const std::function<void(torch::jit::Module&)>& change) const {
        write_good_model();
        auto module = torch::jit::load(model());
        change(module);
        module.save(model());
    }
};

TEST_F(Export, has_the_weights_of_a_table_model_and_how_its_rows_are_encoded) {
    const Preprocessing preprocessing{
        .inputs = {{.name = "load", .fill = 0.1, .mean = 1.0 / 3.0, .scale = 2.5, .missing_flag = true},
                   {.name = "cell", .kind = ColumnKind::category, .categories = {"a", "ä"}, .missing_flag = true},
                   {.name = "speed"},
                   {.name = "band", .kind = ColumnKind::category, .categories = {"n78"}}},
        .target = {.name = "delay", .mean = 7.0, .scale = 3.0}};
    for (const auto type : {NumberType::fp32, NumberType::fp64}) {
        const auto program = worker::ModelProgram::build(
            {.name = "r", .model = {.hidden = {5, 3}}, .number_type = type, .digest = "d"}, preprocessing);
        ASSERT_TRUE(program.ok());
        expect_weights_of(*program, 6);
        const WeightsFile file = written();
        EXPECT_EQ(file.header["weight_0"]["dtype"], type == NumberType::fp64 ? "F64" : "F32");
        EXPECT_EQ(file.metadata["format"], "pt");
        EXPECT_EQ(file.metadata["muster"], "1");
        EXPECT_EQ(file.metadata["recipe"], "r@d");
        EXPECT_EQ(file.metadata["task"], "regression");
        EXPECT_EQ(file.metadata["family"], "mlp");
        EXPECT_EQ(nlohmann::json::parse(file.metadata["preprocessing"].get<std::string>()),
                  nlohmann::json::parse(R"({"inputs": [
                {"name": "load", "kind": "number", "fill": 0.1, "mean": 0.3333333333333333, "scale": 2.5, "missing_flag": true},
                {"name": "cell", "kind": "category", "categories": ["a", "ä"], "missing_flag": true},
                {"name": "speed", "kind": "number", "fill": 0.0, "mean": 0.0, "scale": 1.0, "missing_flag": false},
                {"name": "band", "kind": "category", "categories": ["n78"], "missing_flag": false}],
                "target": {"name": "delay", "mean": 7.0, "scale": 3.0, "categories": []}})"));
    }
}

TEST_F(Export, has_the_weights_of_a_language_model_and_its_vocabulary) {
    const worker::TextProblem problem;
    expect_weights_of(problem.program(), 1 + 2 * 12 + 4);
    const WeightsFile file = written();
    EXPECT_EQ(file.header["layers.1.attention_weight"]["shape"], (nlohmann::json{48, 16}));
    EXPECT_EQ(file.metadata["family"], "transformer");
    EXPECT_EQ(file.metadata["task"], "language");
    EXPECT_EQ(nlohmann::json::parse(file.metadata["settings"].get<std::string>()),
              (nlohmann::json{{"layers.1.heads", 2}, {"layers.2.heads", 2}}));
    const auto text = nlohmann::json::parse(file.metadata["preprocessing"].get<std::string>())["text"];
    EXPECT_EQ(text["sequence"], 8);
    EXPECT_EQ(text["unit"], "character");
    EXPECT_EQ(text["vocabulary"], (nlohmann::json{"a", "b", "c", "d", "e", "f"}));
}

TEST_F(Export, gives_the_same_file_again) {
    write_good_model();
    ASSERT_EQ(run().status, "");
    const auto first = *sha256_file(output());
    ASSERT_EQ(run().status, "");
    EXPECT_EQ(*sha256_file(output()), first);
}

TEST_F(Export, refuses_files_that_are_no_archive) {
    write_good_model();
    const std::string whole = *read_file(model());
    for (const auto& content : {std::string{},
                                std::string{"no archive"},
                                whole.substr(0, whole.size() / 2),
                                whole.substr(0, whole.size() - 1),
                                std::string(4096, '\0')}) {
        ASSERT_TRUE(replace_file(model(), content).ok());
        const auto done = run();
        EXPECT_EQ(done.status, "exit status 4") << content.size();
        EXPECT_NE(done.error().find("not a model archive"), std::string::npos) << done.output;
        EXPECT_EQ(done.json()["error"]["where"], model());
        EXPECT_EQ(std::filesystem::file_size(output()), 0U);
    }
    std::filesystem::remove(model());
    EXPECT_NE(run().error().find("cannot read"), std::string::npos);
}

TEST_F(Export, refuses_archives_of_others) {
    write_model("    return numbers\n");
    EXPECT_NE(run().error().find("body"), std::string::npos) << run().output;
    write_changed([](auto& module) { module.setattr("columns", 2); });
    EXPECT_NE(run().error().find("contradict"), std::string::npos) << run().output;
    write_changed([](auto& module) { module.setattr("number_columns", at::tensor({1})); });
    EXPECT_NE(run().error().find("contradict"), std::string::npos) << run().output;
    write_changed([](auto& module) { module.setattr("scale", at::tensor({0.0}).reciprocal()); });
    EXPECT_NE(run().error().find("not finite"), std::string::npos) << run().output;
    write_changed([](auto& module) { module.setattr("target_mean", std::nan("")); });
    EXPECT_NE(run().error().find("not finite"), std::string::npos) << run().output;
    write_changed([](auto& module) { module.setattr("task", std::string{"\xff"}); });
    EXPECT_EQ(run().status, "exit status 4");
}

TEST_F(Export, refuses_tensors_that_are_not_stored_whole) {
    const auto with_weight = [this](const at::Tensor& weight) {
        write_changed([&](auto& module) { module.attr("body").toModule().setattr("weight_0", weight); });
        return run();
    };
    EXPECT_NE(with_weight(at::ones({1}).expand({1 << 20})).error().find("larger than the archive"), std::string::npos);
    EXPECT_NE(with_weight(at::ones({2}, at::kComplexFloat)).error().find("type"), std::string::npos);
    EXPECT_NE(with_weight(at::ones({2, 2}).to_sparse()).error(), "");
    // The archive stores the whole of it: what is written are the rows that it shows, in their order.
    ASSERT_EQ(with_weight(at::arange(12, at::kFloat).view({4, 3}).t()).status, "");
    EXPECT_TRUE(written().tensor("weight_0").equal(at::arange(12, at::kFloat).view({4, 3}).t()));
}

TEST_F(Export, refuses_a_tensor_that_reaches_beyond_its_bytes) {
    write_changed([](auto& module) {
        module.attr("body").toModule().setattr("weight_0", at::arange(77'777, at::kFloat).view({1, 77'777}));
    });
    const std::string good = *read_file(model());
    const std::string number{"\x4a\xd1\x2f\x01\x00", 5}; // 77777 in the archive's pickle
    std::vector<std::size_t> places;
    for (std::size_t at = good.find(number); at != std::string::npos; at = good.find(number, at + 1)) {
        places.push_back(at);
    }
    ASSERT_GT(places.size(), 1U);
    // First comes what is stored, then what is shown of it. Nobody looks at the checksum.
    for (const bool lies_of_storage : {false, true}) {
        std::string bytes = good;
        for (std::size_t i = lies_of_storage ? 0 : 1; i < places.size(); ++i) {
            bytes[places[i] + 3] = '\x7f';
        }
        ASSERT_TRUE(replace_file(model(), bytes).ok());
        const auto done = run();
        EXPECT_EQ(done.status, "exit status 4") << done.output;
        EXPECT_NE(done.error().find(lies_of_storage ? "larger than the archive" : "storage only has"),
                  std::string::npos)
            << done.output;
    }
}

TEST_F(Export, stops_an_archive_that_reads_another_file_while_it_is_loaded) {
    std::ofstream{folder().path() / "secret"} << "12345678";
    torch::jit::Module module{"__torch__.muster.Model"};
    module.register_attribute("first", c10::FloatType::get(), 0.0);
    module.define("def __getstate__(self) -> int:\n    return 1\n"
                  "def __setstate__(self, state: int) -> None:\n"
                  "    self.first = float(torch.from_file(\"" +
                  (folder().path() / "secret").string() + "\", False, 1, dtype=7))\n");
    module.save(model());
    const auto done = run();
    EXPECT_EQ(done.status, "signal 31 (Bad system call)") << done.output;
    EXPECT_EQ(std::filesystem::file_size(output()), 0U);
}

TEST_F(Export, ends_cleanly_when_memory_is_short_or_nothing_can_be_written) {
    write_changed(
        [](auto& module) { module.attr("body").toModule().setattr("weight_0", at::zeros({64 << 20}, at::kFloat)); });
    const auto done = run({"--memory-limit", std::to_string(std::int64_t{256} << 20)});
    EXPECT_EQ(done.status, "exit status 4");
    EXPECT_NE(done.error().find("memory"), std::string::npos) << done.output;
    write_good_model();
    const UniqueFd full{::open("/dev/full", O_RDWR | O_CLOEXEC)};
    const auto refused = run_boxed(
        {"export", "--model", model(), "--output-fd", std::to_string(full.get())}, MUSTER_WORKER_PROGRAM, {full.get()});
    EXPECT_NE(refused.error().find("No space left"), std::string::npos) << refused.output;
    EXPECT_NE(run_boxed({"export", "--model", model(), "--output-fd", "77"}).error().find("descriptor"),
              std::string::npos);
}

TEST_F(Export, fails_closed_on_a_kernel_without_a_part) {
    write_good_model();
    for (const std::string part : {"landlock", "seccomp"}) {
        const auto refused = run({}, MUSTER_KERNEL_WITHOUT, {part, MUSTER_WORKER_PROGRAM});
        EXPECT_EQ(refused.status, "exit status 4") << part;
        EXPECT_NE(refused.error().find("--allow-missing-isolation " + part), std::string::npos) << refused.output;
        const auto opted =
            run({"--allow-missing-isolation", part}, MUSTER_KERNEL_WITHOUT, {part, MUSTER_WORKER_PROGRAM});
        EXPECT_EQ(opted.status, "") << part << opted.output;
    }
}

} // namespace
} // namespace muster::app::testing
