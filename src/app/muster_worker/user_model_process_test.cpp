/// Programs of users within their own process: what the box and the limits stop.
#include "base/fd.h"
#include "boxed_driver.h"
#include "wire/recipe.h"
#include "worker_driver.h"

#include <ATen/Functions.h>
#include <fcntl.h>

namespace muster::app::testing {
namespace {

/// Of two columns and one output.
class UserModelProcess : public BoxedTest {
protected:
    void write_network(const std::string& body) const {
        torch::jit::Module module{"__torch__.Net"};
        module.register_parameter("weight", at::ones({1, 2}).requires_grad_(true), false);
        module.define("def forward(self, x: Tensor) -> Tensor:\n" + body);
        module.save(model());
    }
    [[nodiscard]] BoxedDone check(const std::vector<std::string>& more = {"--columns", "2", "--outputs", "1"}) const {
        std::vector<std::string> all{"check-model", "--model", model()};
        all.insert(all.end(), more.begin(), more.end());
        return run_boxed(all, MUSTER_WORKER_PROGRAM);
    }
    [[nodiscard]] static Recipe recipe() {
        Recipe recipe = small_recipe(2);
        recipe.model = {.family = "torchscript", .archive = ModelArchive{std::string(64, 'a'), 1, 0}};
        return recipe;
    }
    /// A worker that was handed the archive.
    [[nodiscard]] std::unique_ptr<WorkerDriver> worker(const std::vector<std::string>& more = {}) const {
        const UniqueFd file{::open(model().c_str(), O_RDONLY)}; // without CLOEXEC: the worker inherits it
        std::vector<std::string> all{"--program-fd", std::to_string(file.get())};
        all.insert(all.end(), more.begin(), more.end());
        auto started = std::make_unique<WorkerDriver>(all, std::vector<int>{file.get()});
        started->connect();
        started->send(WorkerPrepare{"job-1", wire::to_json(recipe()).dump(), {}, 1});
        return started;
    }
};

constexpr const char* good = "    return torch.linear(x, self.weight)\n";

TEST_F(UserModelProcess, is_checked_in_the_box) {
    write_network(good);
    const auto done = check();
    EXPECT_EQ(done.status, "") << done.output;
    EXPECT_EQ(done.json()["parameters"], 2);
    EXPECT_EQ(done.json()["probed"], true);
    EXPECT_EQ(check({}).json()["probed"], false);
    EXPECT_NE(check({"--columns", "3", "--outputs", "1"}).error(), "");
    EXPECT_NE(check({"--number-type", "fp64"}).error().find("module.double()"), std::string::npos);
}

TEST_F(UserModelProcess, trains_and_leaves_an_archive) {
    write_network(good);
    const auto driver = worker();
    EXPECT_EQ(driver->wait_for<Prepared>().parameters, 2);
    driver->send(WorkerCommit{Commit{.job = "job-1", .roster = roster_of_one(1)}, {}, 0});
    driver->wait_for<WorkerJoined>();
    driver->send(WorkerStart{1});
    EXPECT_FALSE(driver->wait_for<Done>().model_sha256.empty());
}

TEST_F(UserModelProcess, is_ended_when_it_does_not_come_back) {
    write_network("    i = 0\n    while True:\n        i = i + 1\n    return torch.linear(x, self.weight)\n");
    const auto driver = worker({"--program-seconds", "1"});
    EXPECT_NE(driver->wait_for<Failed>().reason.find("did not come back within 1 s"), std::string::npos);
    EXPECT_NE(driver->wait_exit(), "");
}

TEST_F(UserModelProcess, is_told_that_its_memory_is_at_an_end) {
    write_network("    return torch.linear(x, self.weight) + torch.zeros([100000000000]).sum()\n");
    const auto driver = worker({"--memory-limit", std::to_string(std::int64_t{1} << 30)});
    EXPECT_NE(driver->wait_for<Failed>().reason.find("memory"), std::string::npos);
}

TEST_F(UserModelProcess, is_refused_before_it_runs) {
    write_network("    torch.save(x, \"" + (folder().path() / "made").string() + "\")\n" + good);
    const auto driver = worker();
    EXPECT_NE(driver->wait_for<Failed>().reason.find("aten::save"), std::string::npos);
    EXPECT_FALSE(std::filesystem::exists(folder().path() / "made"));
}

} // namespace
} // namespace muster::app::testing
