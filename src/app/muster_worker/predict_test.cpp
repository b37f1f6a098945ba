#include "base/fd.h"
#include "base/file.h"
#include "boxed_driver.h"
#include "function/child_process.h"
#include "worker/program.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <poll.h>
#include <unistd.h>

#include <fstream>

namespace muster::app::testing {
namespace {

constexpr int kernel_page_bytes = 4096;

class Predict : public BoxedTest {
protected:
    [[nodiscard]] std::string input() const { return folder().path() / "new.csv"; }
    [[nodiscard]] std::vector<std::string> arguments(const std::vector<std::string>& more = {}) const {
        std::vector<std::string> all{"predict", "--model", model(), "--input", input()};
        all.insert(all.end(), more.begin(), more.end());
        return all;
    }

    void write_rows(int count) const {
        std::ofstream file{input()};
        file << "x\n";
        for (int row = 0; row < count; ++row) {
            file << row << "\n";
        }
    }
    [[nodiscard]] BoxedDone run(const std::vector<std::string>& more = {},
                                const std::filesystem::path& program = MUSTER_WORKER_PROGRAM,
                                std::vector<std::string> before = {}) const {
        const auto all = arguments(more);
        before.insert(before.end(), all.begin(), all.end());
        return run_boxed(before, program);
    }
};

TEST_F(Predict, gives_a_row_of_outputs_for_each_row) {
    write_good_model();
    write_rows(3);
    const auto done = run();
    EXPECT_EQ(done.status, "");
    EXPECT_EQ(done.json(), (nlohmann::json{{"output", "y"}, {"predictions", {{0.0}, {2.0}, {4.0}}}})) << done.output;
}

TEST_F(Predict, derives_a_history_in_the_box) {
    const RecipeHistory history{.group = "who",
                                .value = "y",
                                .now = "sent",
                                .known_at = "back",
                                .last = 3,
                                .window = 20,
                                .statistics = {HistoryStatistic::mean,
                                               HistoryStatistic::median,
                                               HistoryStatistic::minimum,
                                               HistoryStatistic::maximum,
                                               HistoryStatistic::deviation},
                                .outstanding = true,
                                .since_last = true};
    Preprocessing preprocessing{.inputs = {{.name = "x"}}, .target = {.name = "y"}, .history = history};
    for (const std::string& name : history_names(history)) {
        preprocessing.inputs.push_back({.name = name, .missing_flag = true});
    }
    const auto program = worker::ModelProgram::build({.name = "r", .model = {.hidden = {64}}}, preprocessing);
    ASSERT_TRUE(program.ok());
    program->export_archive(model());
    for (const int rows : {1, 2, 20'000}) {
        std::ofstream file{input()};
        file << "who,x,sent,back,y\n";
        for (int row = 0; row < rows; ++row) {
            file << "ab"[row % 2] << ",1.5," << row * 10 << "," << row * 10 + row % 31 << "," << row % 31 << "\n";
        }
        file.close();
        const auto done = run();
        EXPECT_EQ(done.status, "") << rows;
        EXPECT_EQ(done.json()["predictions"].size(), static_cast<std::size_t>(rows));
    }
}

TEST_F(Predict, runs_models_of_each_task_on_few_and_many_rows_in_the_box) {
    const std::vector<InputColumn> inputs{
        {.name = "x", .missing_flag = true},
        {.name = "cell", .kind = ColumnKind::category, .categories = {"a", "b"}, .missing_flag = true}};
    const auto classes = [](std::vector<std::string> names) {
        return TargetColumn{.name = "y", .kind = ColumnKind::category, .categories = std::move(names)};
    };
    const std::vector<std::pair<Loss, TargetColumn>> tasks{{Loss::l1, {.name = "y"}},
                                                           {Loss::binary_cross_entropy, classes({"no", "yes"})},
                                                           {Loss::cross_entropy, classes({"no", "yes", "maybe"})}};
    for (const auto type : {NumberType::fp32, NumberType::fp64}) {
        for (const auto& [loss, target] : tasks) {
            const auto program = worker::ModelProgram::build(
                {.name = "r", .model = {.hidden = {128, 128}}, .loss = loss, .number_type = type},
                {.inputs = inputs, .target = target});
            ASSERT_TRUE(program.ok());
            program->export_archive(model());
            for (const int rows : {1, 2, 20'000}) {
                std::ofstream file{input()};
                file << "cell,x\n";
                for (int row = 0; row < rows; ++row) {
                    file << (row % 3 == 0 ? "" : "a") << "," << (row % 2 == 0 ? "" : "1.5") << "\n";
                }
                file.close();
                const auto done = run();
                EXPECT_EQ(done.status, "") << rows;
                EXPECT_EQ(done.json()["predictions"].size(), static_cast<std::size_t>(rows));
            }
        }
    }
}

/// The value of a line in /proc/PID/status.
std::string status_line(pid_t pid, const std::string& name) {
    std::ifstream file{fmt::format("/proc/{}/status", pid)};
    for (std::string line; std::getline(file, line);) {
        if (line.starts_with(name + ":")) {
            return line.substr(line.find_first_not_of(" \t", name.size() + 1));
        }
    }
    return "";
}

TEST_F(Predict, is_in_the_box_while_it_answers) {
    write_good_model();
    write_rows(20'000);
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    const UniqueFd near_end{ends[0]};
    UniqueFd far_end{ends[1]};
    ASSERT_GE(::fcntl(far_end.get(), F_SETPIPE_SZ, kernel_page_bytes), kernel_page_bytes);
    auto child = function::ChildProcess::start(
        {.program = MUSTER_WORKER_PROGRAM, .arguments = arguments(), .output = far_end.get()});
    far_end.reset();
    // The answer does not fit in the pipe: the process waits in the midst of it until it is read.
    pollfd readable{near_end.get(), POLLIN, 0};
    ASSERT_EQ(::poll(&readable, 1, static_cast<int>(std::chrono::milliseconds{patience}.count())), 1);
    EXPECT_EQ(status_line(child.value().pid(), "Seccomp"), "2");
    EXPECT_EQ(status_line(child.value().pid(), "NoNewPrivs"), "1");
    EXPECT_EQ(status_line(child.value().pid(), "Threads"), "1");
    const auto answer = nlohmann::json::parse(read_all(near_end.get()));
    EXPECT_EQ(answer["predictions"].size(), 20'000U);
    EXPECT_EQ(child.value().wait(Deadline::after(patience)).value(), "");
}

TEST_F(Predict, stops_an_archive_that_reads_another_file) {
    write_rows(1);
    std::ofstream{folder().path() / "secret"} << "12345678";
    write_model("    return torch.from_file(\"" + (folder().path() / "secret").string() +
                "\", False, 1, dtype=7).reshape([1, 1])\n");
    const auto done = run();
    EXPECT_EQ(done.status, "signal 31 (Bad system call)");
    EXPECT_EQ(done.output, "");
}

TEST_F(Predict, stops_an_archive_that_writes_a_file) {
    write_rows(1);
    const auto made = folder().path() / "made";
    write_model("    torch.save(numbers, \"" + made.string() + "\")\n    return numbers\n");
    EXPECT_EQ(run().status, "signal 31 (Bad system call)");
    EXPECT_FALSE(std::filesystem::exists(made));
}

TEST_F(Predict, refuses_what_an_archive_does_wrong_in_the_box) {
    write_rows(2);
    for (const auto* body : {"    assert numbers.size(0) == 7, \"no luck\"\n    return numbers\n",
                             "    return numbers.matmul(numbers)\n",
                             "    return numbers.to(3)\n",
                             "    return numbers[0]\n",
                             "    return numbers.reshape([1, 2])\n"}) {
        write_model(body);
        const auto done = run();
        EXPECT_EQ(done.status, "exit status 4") << body << done.output;
        EXPECT_NE(done.error(), "") << body << done.output;
    }
    ASSERT_TRUE(replace_file(model(), "no archive").ok());
    EXPECT_EQ(run().status, "exit status 4");
    std::ofstream{input()} << "x\ntext\n";
    write_good_model();
    EXPECT_NE(run().error().find("text"), std::string::npos);
}

TEST_F(Predict, ends_cleanly_when_memory_is_short) {
    write_rows(1);
    write_model("    return torch.zeros([1, 1000000000]).to(7)\n");
    const auto done = run({"--memory-limit", std::to_string(std::int64_t{1} << 30)});
    EXPECT_EQ(done.status, "exit status 4");
    EXPECT_NE(done.error().find("memory"), std::string::npos) << done.output;
}

TEST_F(Predict, fails_closed_on_a_kernel_without_a_part) {
    write_good_model();
    write_rows(1);
    for (const std::string part : {"landlock", "seccomp"}) {
        const auto refused = run({}, MUSTER_KERNEL_WITHOUT, {part, MUSTER_WORKER_PROGRAM});
        EXPECT_EQ(refused.status, "exit status 4") << part;
        EXPECT_NE(refused.error().find("--allow-missing-isolation " + part), std::string::npos) << refused.output;
        const auto opted =
            run({"--allow-missing-isolation", part}, MUSTER_KERNEL_WITHOUT, {part, MUSTER_WORKER_PROGRAM});
        EXPECT_EQ(opted.status, "") << part << opted.output;
        EXPECT_EQ(opted.json()["predictions"].size(), 1U) << opted.output;
    }
    EXPECT_NE(run({"--allow-missing-isolation", "landlok"}).error(), "");
}

} // namespace
} // namespace muster::app::testing
