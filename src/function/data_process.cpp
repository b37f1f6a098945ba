#include "function/data_process.h"

#include "base/file.h"
#include "function/child_process.h"
#include "wire/preprocessing.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <mutex>
#include <thread>

namespace muster::function {
namespace {

constexpr std::size_t output_bytes_max = 1U << 20U;
constexpr int poll_slice_ms = 100;

struct Job {
    std::filesystem::path request;
    Deadline deadline;
    DataProgram::Callback done;
};

/// Reads one JSON line until the end of the stream.
Result<std::string> read_output(int fd, const Deadline& deadline, const std::stop_token& stop) {
    std::string output;
    char block[4096];
    while (!stop.stop_requested() && !deadline.passed()) {
        pollfd entry{.fd = fd, .events = POLLIN, .revents = 0};
        if (::poll(&entry, 1, std::min(poll_slice_ms, deadline.left_ms())) <= 0) {
            continue;
        }
        const ssize_t size = ::read(fd, block, sizeof block);
        if (size <= 0) {
            return output;
        }
        output.append(block, static_cast<std::size_t>(size));
        if (output.size() > output_bytes_max) {
            return Error{ErrorCode::resource_exhausted, "muster-data said more than 1 MiB"};
        }
    }
    return Error{ErrorCode::deadline_exceeded, "reading the data took too long"};
}

Result<DataProgram::Encoded> answer_of(const std::string& output, const std::string& status) {
    const auto json = nlohmann::json::parse(output, nullptr, false);
    if (!json.is_object()) {
        return Error{
            ErrorCode::unavailable,
            fmt::format("muster-data ended with {} and without an answer", status.empty() ? "status 0" : status)};
    }
    if (json.contains("error")) {
        const auto& error = json["error"];
        Error result{ErrorCode::invalid_argument, error.value("message", "unreadable data"), error.value("where", "")};
        result.allowed = error.value("allowed", std::vector<std::string>{});
        result.nearest = error.value("nearest", "");
        return result;
    }
    auto info = wire::matrix_info_from_json(json.value("info", nlohmann::json::object()));
    if (!info) {
        return std::move(info).error();
    }
    return DataProgram::Encoded{json.value("folder", ""), *info};
}

class DataProcess final : public DataProgram {
public:
    DataProcess(std::filesystem::path program, std::filesystem::path cache)
        : program_{std::move(program)}, cache_{std::move(cache)} {}

    void encode(const std::string& recipe,
                const std::filesystem::path& train,
                const std::optional<std::filesystem::path>& test,
                Deadline deadline,
                Callback done) override {
        const nlohmann::json request{{"train", train.string()},
                                     {"test", test ? nlohmann::json(test->string()) : nlohmann::json(nullptr)},
                                     {"recipe", nlohmann::json::parse(recipe, nullptr, false)}};
        const std::filesystem::path file = cache_ / fmt::format("request-{}.json", random_hex(8));
        std::error_code code;
        std::filesystem::create_directories(cache_, code);
        if (auto written = replace_file(file, request.dump(), 0600); !written) {
            done(std::move(written).error());
            return;
        }
        const std::scoped_lock lock{mutex_};
        worker_ = std::jthread{[this, job = Job{file, deadline, std::move(done)}](const std::stop_token& stop) {
            auto result = run(job, stop);
            std::error_code ignored;
            std::filesystem::remove(job.request, ignored);
            job.done(std::move(result));
        }};
    }

private:
    [[nodiscard]] Result<Encoded> run(const Job& job, const std::stop_token& stop) const {
        int pipe_ends[2];
        if (::pipe2(pipe_ends, O_CLOEXEC) != 0) {
            return Error{ErrorCode::unavailable, "cannot make a pipe"};
        }
        const UniqueFd read_end{pipe_ends[0]};
        UniqueFd write_end{pipe_ends[1]};
        auto child = ChildProcess::start({.program = program_,
                                          .arguments = {"--request", job.request.string(), "--cache", cache_.string()},
                                          .descriptors = {},
                                          .output = write_end.get()});
        if (!child) {
            return std::move(child).error();
        }
        write_end.reset();
        auto output = read_output(read_end.get(), job.deadline, stop);
        if (!output) {
            return std::move(output).error();
        }
        auto status = child->wait(job.deadline);
        if (!status) {
            return std::move(status).error();
        }
        return answer_of(*output, *status);
    }

    std::filesystem::path program_;
    std::filesystem::path cache_;
    std::mutex mutex_;
    std::jthread worker_; ///< the agent has one job at a time; a new one waits for the old to end
};

} // namespace

std::unique_ptr<DataProgram> data_process(std::filesystem::path program, std::filesystem::path cache) {
    return std::make_unique<DataProcess>(std::move(program), std::move(cache));
}

} // namespace muster::function
