#include "boxed_driver.h"

#include "base/fd.h"
#include "function/child_process.h"
#include "worker/program.h"

#include <ATen/core/grad_mode.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>

namespace muster::app::testing {

std::string read_all(int fd) {
    constexpr std::size_t block_bytes = 4096;
    std::string text;
    std::array<char, block_bytes> block{};
    for (ssize_t count = 0; (count = ::read(fd, block.data(), block.size())) > 0;) {
        text.append(block.data(), static_cast<std::size_t>(count));
    }
    return text;
}

BoxedDone run_boxed(const std::vector<std::string>& arguments,
                    const std::filesystem::path& program,
                    const std::vector<int>& descriptors) {
    const UniqueFd output{::memfd_create("output", MFD_CLOEXEC)};
    auto child = function::ChildProcess::start(
        {.program = program, .arguments = arguments, .descriptors = descriptors, .output = output.get()});
    BoxedDone done;
    done.status = child.value().wait(Deadline::after(patience)).value();
    ::lseek(output.get(), 0, SEEK_SET);
    done.output = read_all(output.get());
    return done;
}

void BoxedTest::write_good_model() const {
    const Preprocessing preprocessing{.inputs = {{.name = "x"}}, .target = {.name = "y"}};
    auto program = worker::ModelProgram::build({.name = "r", .model = {.hidden = {}}}, preprocessing);
    ASSERT_TRUE(program.ok());
    const at::NoGradGuard no_grad;
    program->parameters()[0].fill_(2.0);
    program->parameters()[1].fill_(0.0);
    program->export_archive(model());
}

torch::jit::Module BoxedTest::foreign_module() {
    torch::jit::Module module{"__torch__.muster.Model"};
    c10::List<std::string> numbers;
    numbers.push_back("x");
    module.register_attribute("number_names", c10::ListType::ofStrings(), numbers);
    module.register_attribute("category_names", c10::ListType::ofStrings(), c10::List<std::string>{});
    module.register_attribute("target_categories", c10::ListType::ofStrings(), c10::List<std::string>{});
    module.register_attribute("target_name", c10::StringType::get(), "y");
    return module;
}

void BoxedTest::write_model(const std::string& body) const {
    torch::jit::Module module = foreign_module();
    module.define("def forward(self, numbers: Tensor, categories: List[List[str]]) -> Tensor:\n" + body);
    module.save(model());
}

} // namespace muster::app::testing
