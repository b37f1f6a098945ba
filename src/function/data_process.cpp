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

/// The program's option that names its memory limit; its errors name it too.
constexpr const char* memory_option = "--memory-limit";

struct Job {
    std::filesystem::path request;
    std::int64_t memory_bytes{};
    Deadline deadline;
    std::function<void(Result<nlohmann::json>)> done;
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

/// What is unknown here, of a newer program perhaps, may go away by itself.
ErrorCode code_named(const std::string& name) {
    for (const ErrorCode code : {ErrorCode::invalid_argument,
                                 ErrorCode::permission_denied,
                                 ErrorCode::not_found,
                                 ErrorCode::conflict,
                                 ErrorCode::resource_exhausted,
                                 ErrorCode::deadline_exceeded}) {
        if (name == name_of(code)) {
            return code;
        }
    }
    return ErrorCode::unavailable;
}

Error error_of(const nlohmann::json& json, std::int64_t memory_bytes) {
    Error error{code_named(json.value("code", "")), json.value("message", "unreadable data"), json.value("where", "")};
    error.allowed = json.value("allowed", std::vector<std::string>{});
    error.nearest = json.value("nearest", "");
    if (error.where == memory_option) { // nobody here gives that option: say what can be done
        error.message = fmt::format("reading the data needs more than the {} bytes of memory that this job gets: raise "
                                    "policy.memory_share_max or capacity.memory_mb",
                                    memory_bytes);
        error.where.clear();
    }
    return error;
}

Result<nlohmann::json> answer_of(const std::string& output, const std::string& status, std::int64_t memory_bytes) {
    const auto json = nlohmann::json::parse(output, nullptr, false);
    if (!json.is_object()) {
        return Error{
            ErrorCode::unavailable,
            fmt::format("muster-data ended with {} and without an answer", status.empty() ? "status 0" : status)};
    }
    if (json.contains("error")) {
        return error_of(json["error"], memory_bytes);
    }
    return json;
}

Result<DataProgram::Encoded> encoded_from(const Result<nlohmann::json>& answer) {
    if (!answer) {
        return answer.error();
    }
    auto info = wire::matrix_info_from_json(answer->value("info", nlohmann::json::object()));
    if (!info) {
        return std::move(info).error();
    }
    return DataProgram::Encoded{answer->value("folder", ""), *info};
}

nlohmann::json request_of(const DataProgram::Order& order) {
    return {{"train", order.train.string()},
            {"test", order.test ? nlohmann::json(order.test->string()) : nlohmann::json(nullptr)},
            {"recipe", nlohmann::json::parse(order.recipe, nullptr, false)}};
}

class DataProcess final : public DataProgram {
public:
    explicit DataProcess(DataSettings settings) : settings_{std::move(settings)} {}

    void encode(const Order& order, Deadline deadline, Callback done) override {
        nlohmann::json request = request_of(order);
        if (order.preprocessing) {
            request["preprocessing"] = wire::to_json(*order.preprocessing);
        }
        start(request, order.memory_bytes, deadline, [done = std::move(done)](const Result<nlohmann::json>& answer) {
            done(encoded_from(answer));
        });
    }

    void gather(const Order& order, std::int64_t group_rows_min, Deadline deadline, StatisticsCallback done) override {
        nlohmann::json request = request_of(order);
        request["group_rows_min"] = group_rows_min;
        start(request, order.memory_bytes, deadline, [done = std::move(done)](const Result<nlohmann::json>& answer) {
            done(answer ? wire::statistics_from_json(answer->value("statistics", nlohmann::json::object()))
                        : answer.error());
        });
    }

private:
    void start(const nlohmann::json& request,
               std::int64_t memory_bytes,
               Deadline deadline,
               std::function<void(Result<nlohmann::json>)> done) {
        const std::filesystem::path file = settings_.cache / fmt::format("request-{}.json", random_hex(8));
        std::error_code code;
        std::filesystem::create_directories(settings_.cache, code);
        if (auto written = replace_file(file, request.dump(), 0600); !written) {
            done(std::move(written).error());
            return;
        }
        const std::scoped_lock lock{mutex_};
        worker_ =
            std::jthread{[this, job = Job{file, memory_bytes, deadline, std::move(done)}](const std::stop_token& stop) {
                auto result = run(job, stop);
                std::error_code ignored;
                std::filesystem::remove(job.request, ignored);
                job.done(std::move(result));
            }};
    }

    [[nodiscard]] Result<nlohmann::json> run(const Job& job, const std::stop_token& stop) const {
        int pipe_ends[2];
        if (::pipe2(pipe_ends, O_CLOEXEC) != 0) {
            return Error{ErrorCode::unavailable, "cannot make a pipe"};
        }
        const UniqueFd read_end{pipe_ends[0]};
        UniqueFd write_end{pipe_ends[1]};
        auto child = ChildProcess::start({.program = settings_.program,
                                          .arguments = arguments(job),
                                          .descriptors = {},
                                          .output = write_end.get(),
                                          .end_with_parent = true});
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
        return answer_of(*output, *status, job.memory_bytes);
    }

    [[nodiscard]] std::vector<std::string> arguments(const Job& job) const {
        const auto wait_seconds = std::chrono::duration_cast<std::chrono::seconds>(job.deadline.left()).count();
        std::vector<std::string> words{"--request",
                                       job.request.string(),
                                       "--cache",
                                       settings_.cache.string(),
                                       "--lock-wait-seconds",
                                       std::to_string(wait_seconds),
                                       "--cache-bytes-max",
                                       std::to_string(settings_.cache_bytes_max)};
        if (job.memory_bytes > 0) {
            words.insert(words.end(), {memory_option, std::to_string(job.memory_bytes)});
        }
        return words;
    }

    DataSettings settings_;
    std::mutex mutex_;
    std::jthread worker_; ///< the agent has one job at a time; a new one waits for the old to end
};

} // namespace

std::unique_ptr<DataProgram> data_process(DataSettings settings) {
    return std::make_unique<DataProcess>(std::move(settings));
}

} // namespace muster::function
