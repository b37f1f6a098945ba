#include "function/socket_worker.h"

#include "base/log.h"
#include "function/sockets.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <iterator>
#include <system_error>

namespace muster::function {
namespace {

namespace fs = std::filesystem;

constexpr auto send_timeout = std::chrono::seconds{5};
constexpr timeval connect_timeout{.tv_sec = 5, .tv_usec = 0};
constexpr auto poll_slice = std::chrono::milliseconds{200};
constexpr auto stop_grace = std::chrono::seconds{2};
constexpr std::size_t dials_max = 64;
constexpr std::size_t last_words_bytes = 600;
constexpr int backlog = 4;
constexpr const char* socket_name = "worker.sock";

Error system_error(const std::string& what) {
    return {ErrorCode::unavailable, what + ": " + std::system_category().message(errno)};
}

/// A Unix socket by its place below an open folder: state folders may be deeper than the 107 bytes of a socket's path.
class UnixAddress {
public:
    explicit UnixAddress(const fs::path& folder) : folder_{::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)} {
        value_.sun_family = AF_UNIX;
        const std::string path = fmt::format("/proc/self/fd/{}/{}", folder_.get(), socket_name);
        std::ranges::copy(path.substr(0, sizeof value_.sun_path - 1), static_cast<char*>(value_.sun_path));
    }
    [[nodiscard]] const sockaddr* pointer() const { return reinterpret_cast<const sockaddr*>(&value_); }
    static constexpr socklen_t size = sizeof(sockaddr_un);

private:
    UniqueFd folder_;
    sockaddr_un value_{};
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

} // namespace

Result<UniqueFd> make_worker_socket(const fs::path& folder) {
    const UnixAddress address{folder};
    UniqueFd socket{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    if (!socket.valid() || ::bind(socket.get(), address.pointer(), UnixAddress::size) != 0 ||
        ::listen(socket.get(), backlog) != 0) {
        return system_error("cannot make the worker's socket");
    }
    return socket;
}

Result<UniqueFd> connect_to_worker(const fs::path& folder) {
    const UnixAddress address{folder};
    UniqueFd socket{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    // The time limit holds for connect(): a full queue would else hold it up for ever. FrameSocket never blocks.
    if (!socket.valid() ||
        ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &connect_timeout, sizeof connect_timeout) != 0 ||
        ::connect(socket.get(), address.pointer(), UnixAddress::size) != 0) {
        return system_error("cannot connect to the worker");
    }
    return socket;
}

std::unique_ptr<SocketWorker>
SocketWorker::take_over(const std::string& job, const fs::path& folder, WorkerEvents& events) {
    Parts parts{.folder = folder, .file = {}};
    if (auto file = read_job_file(folder)) {
        parts.file = std::move(*file);
        parts.cgroup = Cgroup::adopt(parts.file.cgroup);
        if (auto process = ChildProcess::adopt(parts.file.worker)) {
            parts.process = std::move(*process);
        }
    } else {
        log::warning("the record of a job cannot be read job={} {}", job, log::field("reason", file.error().text()));
    }
    parts.file.job.job = job;
    if (auto socket = connect_to_worker(folder)) {
        parts.socket.emplace(std::move(*socket));
    }
    return std::make_unique<SocketWorker>(std::move(parts), events);
}

SocketWorker::SocketWorker(Parts parts, WorkerEvents& events)
    : parts_{std::move(parts)}, job_{parts_.file.job.job}, events_{events}, reader_{
                                                                                [this](const std::stop_token& stop) {
                                                                                    read(stop);
                                                                                }} {}

SocketWorker::~SocketWorker() {
    quiet_ = true;
    const auto told = send(WorkerStop{"released"}); // a courtesy where the process is known: its end follows anyhow
    reader_.request_stop();
    reader_.join();
    dials_.clear();
    if (parts_.process) {
        parts_.process->end(stop_grace);
    } else if (told) {
        await_stranger();
    }
    parts_.cgroup.reset();
    std::error_code ignored;
    fs::remove_all(parts_.folder, ignored);
}

/// Waits for the end of a worker that can be reached by its socket only.
void SocketWorker::await_stranger() {
    const auto deadline = Deadline::after(stop_grace);
    while (!deadline.passed()) {
        if (!parts_.socket->receive(deadline)) {
            return;
        }
    }
    log::warning("a worker does not end as asked, it will by its lease job={}", job_);
}

Result<void> SocketWorker::send(const ToWorker& message) {
    const std::scoped_lock lock{send_mutex_};
    if (!parts_.socket) {
        return Error{ErrorCode::unavailable, "the worker is gone"};
    }
    return parts_.socket->send(wire::to_json(message).dump(), Deadline::after(send_timeout));
}

Result<void> SocketWorker::remember(const JobRecord& record) {
    parts_.file.job = record;
    return write_job_file(parts_.folder, parts_.file);
}

void SocketWorker::read(const std::stop_token& stop) {
    if (!parts_.socket) {
        ended("nobody answers at its socket");
        return;
    }
    while (!stop.stop_requested()) {
        auto frame = parts_.socket->receive(Deadline::after(poll_slice));
        if (!frame) {
            ended(frame.error().message);
            return;
        }
        if (*frame) {
            handle((**frame).text);
        }
    }
}

void SocketWorker::ended(const std::string& why) {
    if (quiet_) {
        return;
    }
    std::string end = "it was gone when the agent came back";
    if (parts_.process) {
        auto status = parts_.process->wait(Deadline::after(stop_grace));
        end = !status ? why : status->empty() ? std::string{"it stopped by itself"} : *status;
    }
    const std::string words = last_words(parts_.folder / "worker.log");
    events_.on_worker_exit(job_, fmt::format("{}{}{}", end, words.empty() ? "" : "; last words: ", words));
}

void SocketWorker::handle(const std::string& text) {
    const auto json = nlohmann::json::parse(text, nullptr, false);
    if (wire::is_dial(json)) {
        if (auto request = wire::dial_request_from_json(json)) {
            dial(*request);
        }
        return;
    }
    auto message = wire::from_worker_from_json(json);
    if (!message) {
        log::error("worker said what nobody understands job={} {}", job_, log::field("reason", message.error().text()));
        return;
    }
    events_.on_worker_message(job_, std::move(*message));
}

/// Connects on a thread of its own: an address that does not answer must not hold up the others.
void SocketWorker::dial(const wire::DialRequest& request) {
    dials_.remove_if([](const Dial& dial) { return dial.finished->load(); });
    if (dials_.size() >= dials_max) {
        answer({request.id, "too many connections are being made"}, -1);
        return;
    }
    auto finished = std::make_shared<std::atomic<bool>>(false);
    dials_.push_back(
        {finished, std::jthread{[this, request, finished] {
             auto socket = connect_to(request.address, Deadline::after(std::chrono::milliseconds{request.timeout_ms}));
             answer({request.id, socket ? std::string{} : socket.error().text()}, socket ? socket->get() : -1);
             *finished = true;
         }}});
}

void SocketWorker::answer(const wire::DialAnswer& answer, int descriptor) {
    const std::scoped_lock lock{send_mutex_};
    if (auto sent = parts_.socket->send(wire::to_json(answer).dump(), Deadline::after(send_timeout), descriptor);
        !sent) {
        log::warning("worker does not take its connection job={} {}", job_, log::field("reason", sent.error().text()));
    }
}

} // namespace muster::function
