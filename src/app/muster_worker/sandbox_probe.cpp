/// For tests: closes the worker's box around itself, then does the deed it was told, e.g. `sandbox_probe execve`. A
/// second word "driver" closes it for a worker with a GPU, for which a device stands in that is none.
/// Exit status 0: the deed was done; killed by SIGSYS: the box stopped it; 3: the box did not close.
#include "base/fd.h"
#include "process_group/testing_device.h"
#include "worker/sandbox_warm_up.h"
#include "worker/training_box.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <new>
#include <string>
#include <string_view>
#include <thread>

namespace {

using namespace muster; // NOLINT(google-build-using-namespace): a program, not a library

constexpr int threads = 2;
constexpr std::int64_t memory_bytes_max = std::int64_t{2} << 30;

/// What a deed may need, opened before the box closes.
struct World {
    UniqueFd listener;  ///< may accept; a client waits already
    UniqueFd forbidden; ///< another listener, with a client as well
    UniqueFd client;
    UniqueFd other_client;
    UniqueFd near_end; ///< a socket pair; a descriptor waits in the near end
    UniqueFd far_end;
    UniqueFd unconnected;
    UniqueFd output;
};

std::pair<UniqueFd, UniqueFd> listener_with_client(const char* name) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    // An abstract name: no file to remove.
    const auto text = fmt::format("muster-probe-{}-{}", name, ::getpid());
    std::memcpy(address.sun_path + 1, text.data(), text.size());
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + text.size());
    UniqueFd listener{::socket(AF_UNIX, SOCK_STREAM, 0)};
    UniqueFd client{::socket(AF_UNIX, SOCK_STREAM, 0)};
    const auto* generic = reinterpret_cast<const sockaddr*>(&address);
    if (::bind(listener.get(), generic, size) != 0 || ::listen(listener.get(), 1) != 0 ||
        ::connect(client.get(), generic, size) != 0) {
        std::perror("listener");
        std::_Exit(3);
    }
    return {std::move(listener), std::move(client)};
}

union Control {
    cmsghdr header;
    char space[CMSG_SPACE(sizeof(int))];
};

void pass_descriptor(int socket, int descriptor) {
    char byte = 'x';
    iovec part{&byte, 1};
    Control control{};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.space;
    message.msg_controllen = sizeof control.space;
    auto* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof descriptor);
    std::memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
    (void)::sendmsg(socket, &message, 0);
}

int receive_descriptor(int socket) {
    char byte = 0;
    iovec part{&byte, 1};
    Control control{};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.space;
    message.msg_controllen = sizeof control.space;
    if (::recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != 1 || CMSG_FIRSTHDR(&message) == nullptr) {
        return -1;
    }
    int descriptor = -1;
    std::memcpy(&descriptor, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof descriptor);
    return descriptor;
}

World open_world() {
    World world;
    std::tie(world.listener, world.client) = listener_with_client("allowed");
    std::tie(world.forbidden, world.other_client) = listener_with_client("forbidden");
    int pair[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) {
        std::_Exit(3);
    }
    world.near_end = UniqueFd{pair[0]};
    world.far_end = UniqueFd{pair[1]};
    pass_descriptor(world.far_end.get(), world.far_end.get());
    world.unconnected = UniqueFd{::socket(AF_INET, SOCK_STREAM, 0)};
    world.output = UniqueFd{::memfd_create("output", MFD_CLOEXEC)};
    return world;
}

/// True when it worked.
using Deed = std::function<bool(World&)>;

bool map_executable() {
    return ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED;
}

bool make_executable() {
    auto* page = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return ::mprotect(page, 4096, PROT_READ | PROT_EXEC) == 0;
}

sockaddr_in loopback() {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(9);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

bool connect_somewhere(World& world) {
    const auto address = loopback();
    return ::connect(world.unconnected.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

bool send_to_somewhere(World& world) {
    const auto address = loopback();
    return ::sendto(world.unconnected.get(),
                    "x",
                    1,
                    MSG_FASTOPEN,
                    reinterpret_cast<const sockaddr*>(&address),
                    sizeof address) == 1;
}

bool fork_child() {
    const auto child = ::syscall(SYS_fork);
    if (child == 0) {
        std::_Exit(0);
    }
    return child > 0;
}

bool execute() {
    char* const none[] = {nullptr};
    return ::execve("/bin/true", none, none) == 0;
}

bool multiply() {
    auto left = at::ones({512, 512}, at::kFloat).requires_grad_();
    at::relu(at::matmul(left, left)).sum().backward();
    bool in_thread = false;
    std::thread{[&] { in_thread = at::ones({1 << 20}, at::kFloat).exp().sum().item<float>() > 0; }}.join();
    return in_thread && left.grad().defined();
}

bool multiply_on_device() {
    const at::TensorOptions options{process_group::testing::stand_in_device()};
    const auto left = at::ones({64, 64}, options).requires_grad_();
    at::relu(at::matmul(left, left)).sum().backward();
    return left.grad().cpu().eq(128.0).all().item<bool>();
}

bool write_output(World& world) {
    const int fd = world.output.get();
    char byte = 0;
    return ::ftruncate(fd, 0) == 0 && ::write(fd, "x", 1) == 1 && ::lseek(fd, 0, SEEK_SET) == 0 &&
           ::pread(fd, &byte, 1, 0) == 1 && ::pwrite(fd, "y", 1, 0) == 1;
}

bool exceed_memory() {
    try {
        return !at::ones({memory_bytes_max / 4}, at::kFloat).defined();
    } catch (const std::exception&) { // what is to be seen: an exception, not the end of the process
        return true;
    }
}

bool read_byte(const char* path, int flags) {
    const UniqueFd file{::open(path, flags)};
    char byte = 0;
    return file.valid() && ::read(file.get(), &byte, 1) == 1;
}

const std::map<std::string, Deed>& deeds() {
    static const std::map<std::string, Deed> table{
        {"open", [](World&) { return ::open("/etc/passwd", O_RDONLY) >= 0; }},
        {"create", [](World&) { return ::open("/tmp/muster-probe", O_CREAT | O_WRONLY, 0600) >= 0; }},
        {"stat", [](World&) { return ::access("/etc/passwd", F_OK) == 0; }},
        {"unlink", [](World&) { return ::unlink("/tmp/muster-probe") == 0; }},
        {"socket", [](World&) { return ::socket(AF_INET, SOCK_STREAM, 0) >= 0; }},
        {"connect", connect_somewhere},
        {"fast open", send_to_somewhere},
        {"bind", [](World& world) { return ::listen(world.unconnected.get(), 1) == 0; }},
        {"accept elsewhere", [](World& world) { return ::accept4(world.forbidden.get(), nullptr, nullptr, 0) >= 0; }},
        {"execve", [](World&) { return execute(); }},
        {"fork", [](World&) { return fork_child(); }},
        {"kill", [](World&) { return ::kill(::getppid(), 0) == 0; }},
        {"ptrace", [](World&) { return ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) == 0; }},
        {"dumpable", [](World&) { return ::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0; }},
        {"mmap exec", [](World&) { return map_executable(); }},
        {"mprotect exec", [](World&) { return make_executable(); }},
        {"memfd", [](World&) { return ::memfd_create("x", 0) >= 0; }},
        {"setrlimit",
         [](World&) {
             const rlimit limit{0, 0};
             return ::setrlimit(RLIMIT_CORE, &limit) == 0;
         }},
        {"open in another thread",
         [](World&) {
             bool worked = false;
             std::thread{[&] { worked = ::open("/etc/passwd", O_RDONLY) >= 0; }}.join();
             return worked;
         }},
        // ---- what a worker needs ----
        {"compute", [](World&) { return multiply(); }},
        {"accept", [](World& world) { return ::accept4(world.listener.get(), nullptr, nullptr, SOCK_CLOEXEC) >= 0; }},
        {"receive a descriptor", [](World& world) { return receive_descriptor(world.near_end.get()) >= 0; }},
        {"write output", write_output},
        {"exceed memory", [](World&) { return exceed_memory(); }},
        // ---- what a GPU's driver needs ----
        {"compute on the device", [](World&) { return multiply_on_device(); }},
        {"read below a folder", [](World&) { return read_byte("/proc/self/status", O_RDONLY); }},
        {"ask a device", [](World& world) { return ::ioctl(world.output.get(), _IO('F', 1)) >= 0 || errno == ENOTTY; }},
        {"abort", [](World&) -> bool { std::abort(); }},
    };
    return table;
}

} // namespace

int main(int count, char** values) {
    const bool with_driver = count == 3 && std::string_view{values[2]} == "driver";
    const auto deed = deeds().find(count == 2 || with_driver ? values[1] : "");
    if (deed == deeds().end()) {
        std::fputs("name one deed, then perhaps \"driver\"\n", stderr);
        return 2;
    }
    worker::settle_process();
    auto world = open_world();
    worker::SandboxSpec spec{
        .listeners = {world.listener.get()}, .output = world.output.get(), .memory_bytes_max = memory_bytes_max};
    c10::Device device{c10::DeviceType::CPU};
    if (with_driver) {
        device = process_group::testing::stand_in_device();
        spec.allow_missing = {"landlock", "seccomp"}; // which a worker with a GPU must not heed
    }
    if (const auto closed = worker::close_training_box(std::move(spec), device, threads); !closed) {
        std::fputs((closed.error().text() + "\n").c_str(), stderr);
        return 3;
    }
    at::set_num_threads(threads);
    std::_Exit(deed->second(world) ? 0 : 1);
}
