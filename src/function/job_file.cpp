#include "function/job_file.h"

#include "base/file.h"
#include "wire/structs.h"

namespace muster::function {
namespace {

constexpr int format_version = 1;
constexpr unsigned private_mode = 0600;

template <typename T>
nlohmann::json optional_json(const std::optional<T>& value) {
    return value ? nlohmann::json(*value) : nlohmann::json(nullptr);
}

template <typename T>
std::optional<T> optional_value(const nlohmann::json& json) {
    return json.is_null() ? std::nullopt : std::optional{json.get<T>()};
}

} // namespace

Result<void> write_job_file(const std::filesystem::path& folder, const JobFile& file) {
    std::vector<std::string> cgroup;
    for (const auto& path : file.cgroup) {
        cgroup.push_back(path.string());
    }
    const nlohmann::json json{{"format", format_version},
                              {"job",
                               {{"job", file.job.job},
                                {"generation", file.job.generation},
                                {"epoch", file.job.epoch},
                                {"lease_seconds", file.job.lease_seconds},
                                {"state", file.job.state},
                                {"committed", optional_json(file.job.committed)},
                                {"done", optional_json(file.job.done)}}},
                              {"worker", {{"pid", file.worker.pid}, {"start", file.worker.start}, {"cgroup", cgroup}}}};
    return replace_file(folder / "job.json", json.dump(), private_mode);
}

Result<JobFile> read_job_file(const std::filesystem::path& folder) {
    const auto path = folder / "job.json";
    auto text = read_file(path);
    if (!text) {
        return std::move(text).error();
    }
    try {
        const auto json = nlohmann::json::parse(*text);
        if (json.at("format").get<int>() != format_version) {
            return Error{ErrorCode::invalid_argument, "written by another version", path.string()};
        }
        const auto& job = json.at("job");
        const auto& worker = json.at("worker");
        JobFile file{.job = {.job = job.at("job").get<std::string>(),
                             .generation = job.at("generation").get<std::int64_t>(),
                             .epoch = job.at("epoch").get<std::int64_t>(),
                             .lease_seconds = job.at("lease_seconds").get<std::int64_t>(),
                             .state = job.at("state").get<std::string>(),
                             .committed = optional_value<Committed>(job.at("committed")),
                             .done = optional_value<Done>(job.at("done"))},
                     .worker = {worker.at("pid").get<pid_t>(), worker.at("start").get<std::string>()}};
        for (const auto& folder_name : worker.at("cgroup")) {
            file.cgroup.emplace_back(folder_name.get<std::string>());
        }
        return file;
    } catch (const nlohmann::json::exception& failure) {
        return Error{ErrorCode::invalid_argument, failure.what(), path.string()};
    }
}

} // namespace muster::function
