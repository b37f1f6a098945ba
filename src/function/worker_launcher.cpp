#include "function/worker_launcher.h"

#include "base/digest.h"
#include "base/log.h"
#include "function/socket_worker.h"
#include "function/sockets.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/file.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <functional>
#include <iterator>
#include <optional>
#include <span>
#include <system_error>
#include <utility>

namespace muster::function {
namespace {

namespace fs = std::filesystem;

constexpr std::array<const char*, 5> matrix_files{
    "train.features", "train.target", "test.features", "test.target", "matrix.json"};

Error system_error(const std::string& what) {
    return {ErrorCode::unavailable, what + ": " + std::system_category().message(errno)};
}

class TcpPeerListener final : public PeerListener {
public:
    TcpPeerListener(ListeningSocket socket, std::vector<std::string> addresses)
        : socket_{std::move(socket)}, addresses_{std::move(addresses)} {}
    [[nodiscard]] std::vector<std::string> addresses() const override { return addresses_; }
    [[nodiscard]] int fd() const { return socket_.fd.get(); }

private:
    ListeningSocket socket_;
    std::vector<std::string> addresses_;
};

/// The same for every agent of one state folder, and for no other on this machine.
std::string mark_of(const fs::path& state_folder) {
    constexpr std::size_t digits = 8;
    std::error_code code;
    const fs::path canonical = fs::weakly_canonical(state_folder, code);
    return sha256_hex((code ? state_folder : canonical).string()).substr(0, digits);
}

class ProcessLauncher final : public WorkerLauncher {
public:
    explicit ProcessLauncher(LauncherSettings settings)
        : settings_{std::move(settings)}, cgroup_mark_{mark_of(settings_.state_folder)} {
        if (const int removed = Cgroup::remove_left(cgroup_mark_); removed > 0) {
            log::info("control groups of a former agent removed count={}", removed);
        }
    }

    Result<std::unique_ptr<PeerListener>> listen(const std::string& /*job*/) override {
        auto socket = listen_on(settings_.data_host, settings_.port_low, settings_.port_high);
        if (!socket) {
            return std::move(socket).error();
        }
        std::vector<std::string> hosts = settings_.advertised_hosts;
        if (hosts.empty()) {
            hosts.push_back(settings_.data_host);
        }
        std::vector<std::string> addresses;
        for (const std::string& host : hosts) {
            const bool v6 = host.find(':') != std::string::npos;
            addresses.push_back(v6 ? fmt::format("[{}]:{}", host, socket->port)
                                   : fmt::format("{}:{}", host, socket->port));
        }
        return std::unique_ptr<PeerListener>{
            std::make_unique<TcpPeerListener>(std::move(*socket), std::move(addresses))};
    }

    Result<std::unique_ptr<WorkerProcess>> start(const std::string& job,
                                                 const fs::path& matrix,
                                                 const WorkerLimits& limits,
                                                 PeerListener& listener,
                                                 WorkerEvents& events) override {
        auto* tcp = dynamic_cast<TcpPeerListener*>(&listener);
        if (tcp == nullptr) {
            return Error{ErrorCode::invalid_argument, "the listener was made by another launcher"};
        }
        const fs::path folder = folder_of(job);
        std::error_code code;
        fs::remove_all(folder, code);
        fs::create_directories(folder, code);
        if (code) {
            return Error{ErrorCode::unavailable, fmt::format("cannot make {}: {}", folder.string(), code.message())};
        }
        auto worker = start_in(folder, job, matrix, limits, tcp->fd(), events);
        if (!worker) {
            fs::remove_all(folder, code);
        }
        return worker;
    }

    std::vector<LeftJob> left() override {
        std::vector<std::pair<fs::file_time_type, LeftJob>> found;
        std::error_code code; // no folder: nothing was left
        for (const auto& entry : fs::directory_iterator{settings_.state_folder / "jobs", code}) {
            auto file = read_job_file(entry.path());
            found.emplace_back(fs::last_write_time(entry.path(), code),
                               LeftJob{.job = entry.path().filename().string(),
                                       .record = file ? std::optional{file->job} : std::nullopt});
        }
        std::ranges::sort(found, std::ranges::greater{}, [](const auto& each) { return each.first; });
        std::vector<LeftJob> jobs;
        std::ranges::transform(found, std::back_inserter(jobs), [](auto& each) { return std::move(each.second); });
        return jobs;
    }

    std::unique_ptr<WorkerProcess> take_over(const std::string& job, WorkerEvents& events) override {
        return SocketWorker::take_over(job, folder_of(job), events);
    }

private:
    [[nodiscard]] fs::path folder_of(const std::string& job) const { return settings_.state_folder / "jobs" / job; }

    Result<std::unique_ptr<WorkerProcess>> start_in(const fs::path& folder,
                                                    const std::string& job,
                                                    const fs::path& matrix,
                                                    const WorkerLimits& limits,
                                                    int peer_listener,
                                                    WorkerEvents& events) {
        const auto control = make_worker_socket(folder);
        if (!control) {
            return control.error();
        }
        ChildSpec spec{.program = settings_.program};
        spec.descriptors = {control->get(), peer_listener};
        spec.arguments = {
            "--control-listen-fd", std::to_string(control->get()), "--peer-listen-fd", std::to_string(peer_listener)};
        const UniqueFd output{::open((folder / "model.pt").c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
        const UniqueFd weights{
            ::open((folder / "weights.safetensors").c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
        const UniqueFd errors{::open((folder / "worker.log").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)};
        if (!output.valid() || !weights.valid() || !errors.valid()) {
            return system_error("cannot open the worker's files");
        }
        spec.arguments.insert(
            spec.arguments.end(),
            {"--output-fd", std::to_string(output.get()), "--weights-fd", std::to_string(weights.get())});
        spec.descriptors.insert(spec.descriptors.end(), {output.get(), weights.get()});
        spec.errors = errors.get();
        std::vector<UniqueFd> data;
        for (const char* name : matrix.empty() ? std::span<const char* const>{} : std::span{matrix_files}) {
            UniqueFd file{::open((matrix / name).c_str(), O_RDONLY | O_CLOEXEC)};
            if (!file.valid() && std::string_view{name}.starts_with("test.")) {
                continue; // a recipe without a test source
            }
            if (!file.valid()) {
                return system_error(fmt::format("cannot open {}", (matrix / name).string()));
            }
            // On the description that the worker inherits: the matrix stays in the cache until the worker has ended,
            // however the agent ends.
            if (std::string_view{name} == "matrix.json" && ::flock(file.get(), LOCK_SH | LOCK_NB) != 0) {
                return system_error(fmt::format("cannot lock {}", (matrix / name).string()));
            }
            spec.arguments.insert(spec.arguments.end(), {"--data-fd", fmt::format("{}={}", name, file.get())});
            spec.descriptors.push_back(file.get());
            data.push_back(std::move(file));
        }
        add_limits(spec, limits);
        if (limits.program >= 0) {
            spec.descriptors.push_back(limits.program);
            spec.arguments.insert(spec.arguments.end(),
                                  {"--program-fd",
                                   std::to_string(limits.program),
                                   "--program-seconds",
                                   std::to_string(limits.program_seconds)});
        }
        for (const LandingFile& file : limits.landing) {
            spec.arguments.insert(spec.arguments.end(), {"--landing-fd", fmt::format("{}={}", file.name, file.fd)});
            spec.descriptors.push_back(file.fd);
        }
        SocketWorker::Parts parts{.folder = folder, .file = {.job = {.job = job, .state = "preparing"}, .worker = {}}};
        parts.cgroup = make_cgroup(job, limits);
        spec.cgroup = parts.cgroup ? &*parts.cgroup : nullptr;
        auto child = ChildProcess::start(spec);
        if (!child) {
            return std::move(child).error();
        }
        parts.process = std::move(*child);
        return supervise(std::move(parts), events);
    }

    /// Remembers the process before anything else, so that a restarted agent can end it, and connects to it: the
    /// socket listens already, so the connection stands before the worker is up.
    static Result<std::unique_ptr<WorkerProcess>> supervise(SocketWorker::Parts parts, WorkerEvents& events) {
        auto identity = identity_of(parts.process->pid());
        if (!identity) {
            return std::move(identity).error();
        }
        parts.file.worker = std::move(*identity);
        if (parts.cgroup) {
            parts.file.cgroup = parts.cgroup->folders();
        }
        if (auto written = write_job_file(parts.folder, parts.file); !written) {
            return std::move(written).error();
        }
        auto socket = connect_to_worker(parts.folder);
        if (!socket) {
            return std::move(socket).error();
        }
        parts.socket.emplace(std::move(*socket));
        return std::unique_ptr<WorkerProcess>{std::make_unique<SocketWorker>(std::move(parts), events)};
    }

    void add_limits(ChildSpec& spec, const WorkerLimits& limits) const {
        const int threads = std::max(1, static_cast<int>(limits.cpu_cores));
        spec.arguments.insert(
            spec.arguments.end(),
            {"--threads", std::to_string(threads), "--lease-seconds", std::to_string(limits.lease_seconds)});
        if (limits.memory_bytes > 0) {
            spec.arguments.insert(spec.arguments.end(), {"--memory-limit", std::to_string(limits.memory_bytes)});
        }
        // What users bring is never run beside a GPU's driver, which the worker's box cannot close.
        if (settings_.device != "cpu" && limits.program < 0) {
            spec.arguments.insert(spec.arguments.end(), {"--device", settings_.device});
        }
        if (!settings_.allow_missing_isolation.empty()) {
            spec.arguments.insert(
                spec.arguments.end(),
                {"--allow-missing-isolation", fmt::format("{}", fmt::join(settings_.allow_missing_isolation, ","))});
        }
    }

    [[nodiscard]] std::optional<Cgroup> make_cgroup(const std::string& job, const WorkerLimits& limits) const {
        if (!settings_.limit_by_cgroup) {
            return std::nullopt;
        }
        // A tenth more than the worker's own limit: its clean exception comes before the kernel's kill.
        auto made = Cgroup::create(
            fmt::format("muster-{}-{}-{}", job, random_hex(4), cgroup_mark_),
            {.cpu_cores = limits.cpu_cores, .memory_bytes = limits.memory_bytes + limits.memory_bytes / 10});
        if (!made) {
            log::warning(
                "worker runs without a control group; delegate one to this user or set limit_by_cgroup: false {}",
                log::field("reason", made.error().text()));
            return std::nullopt;
        }
        return std::move(*made);
    }

    LauncherSettings settings_;
    std::string cgroup_mark_; ///< ends the names of this function's control groups
};

} // namespace

std::unique_ptr<WorkerLauncher> worker_launcher(LauncherSettings settings) {
    return std::make_unique<ProcessLauncher>(std::move(settings));
}

} // namespace muster::function
