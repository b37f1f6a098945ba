#include "function/worker_launcher.h"

#include "base/frame_socket.h"
#include "base/log.h"
#include "function/child_process.h"
#include "function/sockets.h"
#include "wire/worker_messages.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <fstream>
#include <list>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>

namespace muster::function {
namespace {

namespace fs = std::filesystem;

constexpr auto send_timeout = std::chrono::seconds{5};
constexpr auto connect_timeout = std::chrono::seconds{5};
constexpr auto poll_slice = std::chrono::milliseconds{200};
constexpr auto stop_grace = std::chrono::seconds{2};
constexpr std::size_t dials_max = 64;
constexpr std::size_t last_words_bytes = 600;
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

/// A Unix socket by its place below an open folder: state folders may be deeper than the 107 bytes of a socket's path.
struct UnixAddress {
    sockaddr_un value{};
    static UnixAddress below(int folder, const std::string& name) {
        UnixAddress address;
        address.value.sun_family = AF_UNIX;
        const std::string path = fmt::format("/proc/self/fd/{}/{}", folder, name);
        std::ranges::copy(path.substr(0, sizeof address.value.sun_path - 1),
                          static_cast<char*>(address.value.sun_path));
        return address;
    }
    [[nodiscard]] const sockaddr* pointer() const { return reinterpret_cast<const sockaddr*>(&value); }
};

std::string last_words(const fs::path& file) {
    std::ifstream stream{file, std::ios::binary | std::ios::ate};
    const auto size = static_cast<std::streamoff>(stream ? stream.tellg() : std::streampos{0});
    const auto start = std::max<std::streamoff>(0, size - static_cast<std::streamoff>(last_words_bytes));
    stream.seekg(start);
    std::string text{std::istreambuf_iterator<char>{stream}, {}};
    std::ranges::replace(text, '\n', ' ');
    return text;
}

/// A worker process and the thread that listens to it.
class SocketWorker final : public WorkerProcess {
public:
    SocketWorker(std::string job,
                 fs::path folder,
                 std::optional<Cgroup> cgroup,
                 ChildProcess child,
                 UniqueFd socket,
                 WorkerEvents& events)
        : job_{std::move(job)}, folder_{std::move(folder)}, cgroup_{std::move(cgroup)}, child_{std::move(child)},
          socket_{std::move(socket)}, events_{events}, reader_{[this](const std::stop_token& stop) { read(stop); }} {}

    ~SocketWorker() override {
        quiet_ = true;
        (void)send(WorkerStop{"released"}); // a courtesy: the end of the process group follows anyhow
        reader_.request_stop();
        reader_.join();
        dials_.clear();
        child_.end(stop_grace);
        std::error_code ignored;
        fs::remove_all(folder_, ignored);
    }

    Result<void> send(const ToWorker& message) override {
        const std::scoped_lock lock{send_mutex_};
        return socket_.send(wire::to_json(message).dump(), Deadline::after(send_timeout));
    }

    [[nodiscard]] fs::path model_file() const override { return folder_ / "model.pt"; }

private:
    void read(const std::stop_token& stop) {
        while (!stop.stop_requested()) {
            auto frame = socket_.receive(Deadline::after(poll_slice));
            if (!frame) {
                ended(frame.error().message);
                return;
            }
            if (*frame) {
                handle((**frame).text);
            }
        }
    }

    void ended(const std::string& why) {
        if (quiet_) {
            return;
        }
        auto status = child_.wait(Deadline::after(stop_grace));
        const std::string words = last_words(folder_ / "worker.log");
        events_.on_worker_exit(job_,
                               fmt::format("{}{}{}",
                                           !status           ? why
                                           : status->empty() ? std::string{"it stopped by itself"}
                                                             : *status,
                                           words.empty() ? "" : "; last words: ",
                                           words));
    }

    void handle(const std::string& text) {
        const auto json = nlohmann::json::parse(text, nullptr, false);
        if (wire::is_dial(json)) {
            if (auto request = wire::dial_request_from_json(json)) {
                dial(*request);
            }
            return;
        }
        auto message = wire::from_worker_from_json(json);
        if (!message) {
            log::error(
                "worker said what nobody understands job={} {}", job_, log::field("reason", message.error().text()));
            return;
        }
        events_.on_worker_message(job_, std::move(*message));
    }

    /// Connects on a thread of its own: an address that does not answer must not hold up the others.
    void dial(const wire::DialRequest& request) {
        dials_.remove_if([](const Dial& dial) { return dial.finished->load(); });
        if (dials_.size() >= dials_max) {
            answer({request.id, "too many connections are being made"}, -1);
            return;
        }
        auto finished = std::make_shared<std::atomic<bool>>(false);
        dials_.push_back(
            {finished, std::jthread{[this, request, finished] {
                 auto socket =
                     connect_to(request.address, Deadline::after(std::chrono::milliseconds{request.timeout_ms}));
                 answer({request.id, socket ? std::string{} : socket.error().text()}, socket ? socket->get() : -1);
                 *finished = true;
             }}});
    }

    void answer(const wire::DialAnswer& answer, int descriptor) {
        const std::scoped_lock lock{send_mutex_};
        if (auto sent = socket_.send(wire::to_json(answer).dump(), Deadline::after(send_timeout), descriptor); !sent) {
            log::warning(
                "worker does not take its connection job={} {}", job_, log::field("reason", sent.error().text()));
        }
    }

    struct Dial {
        std::shared_ptr<std::atomic<bool>> finished;
        std::jthread thread;
    };

    std::string job_;
    fs::path folder_;
    std::optional<Cgroup> cgroup_; // before the child: it ends first
    ChildProcess child_;
    FrameSocket socket_;
    std::mutex send_mutex_;
    WorkerEvents& events_;
    std::atomic<bool> quiet_{false};
    std::list<Dial> dials_; ///< of the reader's thread
    std::jthread reader_;
};

class ProcessLauncher final : public WorkerLauncher {
public:
    explicit ProcessLauncher(LauncherSettings settings) : settings_{std::move(settings)} {}

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
        const fs::path folder = settings_.state_folder / "jobs" / job;
        std::error_code code;
        fs::remove_all(folder, code);
        fs::create_directories(folder, code);
        if (code) {
            return Error{ErrorCode::unavailable, fmt::format("cannot make {}: {}", folder.string(), code.message())};
        }
        const UniqueFd folder_fd{::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
        const UniqueFd control{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
        const UnixAddress address = UnixAddress::below(folder_fd.get(), "worker.sock");
        if (!folder_fd.valid() || !control.valid() ||
            ::bind(control.get(), address.pointer(), sizeof address.value) != 0 || ::listen(control.get(), 4) != 0) {
            return system_error("cannot make the worker's socket");
        }
        ChildSpec spec{.program = settings_.program};
        spec.descriptors = {control.get(), tcp->fd()};
        spec.arguments = {
            "--control-listen-fd", std::to_string(control.get()), "--peer-listen-fd", std::to_string(tcp->fd())};
        const UniqueFd output{::open((folder / "model.pt").c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
        const UniqueFd errors{::open((folder / "worker.log").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)};
        if (!output.valid() || !errors.valid()) {
            return system_error("cannot open the worker's files");
        }
        spec.arguments.insert(spec.arguments.end(), {"--output-fd", std::to_string(output.get())});
        spec.descriptors.push_back(output.get());
        spec.errors = errors.get();
        std::vector<UniqueFd> data;
        for (const char* name : matrix_files) {
            UniqueFd file{::open((matrix / name).c_str(), O_RDONLY | O_CLOEXEC)};
            if (!file.valid() && std::string_view{name}.starts_with("test.")) {
                continue; // a recipe without a test source
            }
            if (!file.valid()) {
                return system_error(fmt::format("cannot open {}", (matrix / name).string()));
            }
            spec.arguments.insert(spec.arguments.end(), {"--data-fd", fmt::format("{}={}", name, file.get())});
            spec.descriptors.push_back(file.get());
            data.push_back(std::move(file));
        }
        add_limits(spec, limits);
        auto cgroup = make_cgroup(job, limits);
        spec.cgroup = cgroup ? &*cgroup : nullptr;
        auto child = ChildProcess::start(spec);
        if (!child) {
            return std::move(child).error();
        }
        // The socket listens already, so the connection stands before the worker is up.
        UniqueFd socket{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
        if (!socket.valid() || ::connect(socket.get(), address.pointer(), sizeof address.value) != 0) {
            return system_error("cannot connect to the worker");
        }
        return std::unique_ptr<WorkerProcess>{std::make_unique<SocketWorker>(
            job, folder, std::move(cgroup), std::move(*child), std::move(socket), events)};
    }

private:
    void add_limits(ChildSpec& spec, const WorkerLimits& limits) const {
        const int threads = std::max(1, static_cast<int>(limits.cpu_cores));
        spec.arguments.insert(
            spec.arguments.end(),
            {"--threads", std::to_string(threads), "--lease-seconds", std::to_string(limits.lease_seconds)});
        if (limits.memory_bytes > 0) {
            spec.arguments.insert(spec.arguments.end(), {"--memory-limit", std::to_string(limits.memory_bytes)});
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
            fmt::format("muster-{}-{}", job, random_hex(4)),
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
};

} // namespace

std::unique_ptr<WorkerLauncher> worker_launcher(LauncherSettings settings) {
    return std::make_unique<ProcessLauncher>(std::move(settings));
}

} // namespace muster::function
