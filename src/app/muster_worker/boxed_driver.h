/// For tests: a folder with a model archive, and muster-worker's sub-commands that look at it in the box.
#pragma once

#include "worker/testing_matrix.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <torch/csrc/jit/api/module.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

namespace muster::app::testing {

constexpr auto patience = std::chrono::seconds{60};

/// How a sub-command ended.
struct BoxedDone {
    std::string status; ///< as ChildProcess says it
    std::string output;

    [[nodiscard]] nlohmann::json json() const { return nlohmann::json::parse(output, nullptr, false); }
    [[nodiscard]] std::string error() const { return json()["error"].value("message", ""); }
};

/// Everything from the current position on.
[[nodiscard]] std::string read_all(int fd);

/// Runs `program`, muster-worker or what starts it, to its end. It keeps `descriptors`.
[[nodiscard]] BoxedDone run_boxed(const std::vector<std::string>& arguments,
                                  const std::filesystem::path& program = MUSTER_WORKER_PROGRAM,
                                  const std::vector<int>& descriptors = {});

class BoxedTest : public ::testing::Test {
protected:
    [[nodiscard]] const worker::TestingFolder& folder() const { return folder_; }
    [[nodiscard]] std::string model() const { return folder_.path() / "model.pt"; }

    /// y = 2 x, in rows of `x`.
    void write_good_model() const;
    /// A module with the attributes of our archives, of which predictions need the fewest.
    [[nodiscard]] static torch::jit::Module foreign_module();
    /// An archive with these attributes, whose forward() is `body`.
    void write_model(const std::string& body) const;

private:
    worker::TestingFolder folder_;
};

} // namespace muster::app::testing
