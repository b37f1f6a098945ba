#include "worker_driver.h"

#include "base/assert.h"
#include "base/file.h"
#include "base/id.h"
#include "collective/group.h"
#include "wire/preprocessing.h"
#include "wire/recipe.h"
#include "wire/worker_messages.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace muster::app::testing {

namespace {

constexpr auto patience = std::chrono::seconds{60};

sockaddr_un address_of(const std::filesystem::path& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const auto text = path.string();
    MUSTER_ASSERT(text.size() < sizeof address.sun_path);
    std::ranges::copy(text, static_cast<char*>(address.sun_path));
    return address;
}

void write_matrix(const std::filesystem::path& folder) {
    std::vector<float> features;
    std::vector<float> target;
    for (int i = 0; i < static_cast<int>(WorkerDriver::rows); ++i) {
        const auto a = std::sin(static_cast<float>(i));
        const auto b = std::cos(static_cast<float>(7 * i));
        features.insert(features.end(), {a, b});
        target.push_back(2 * a - b);
    }
    const auto write = [&](const char* name, const std::vector<float>& values) {
        const std::string_view bytes{reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
        MUSTER_ASSERT(replace_file(folder / name, bytes).ok());
    };
    write("train.features", features);
    write("train.target", target);
    write("test.features", {});
    write("test.target", {});
    Preprocessing preprocessing;
    preprocessing.inputs = {{.name = "a"}, {.name = "b"}};
    preprocessing.target = {.name = "y"};
    MatrixInfo info;
    info.rows = WorkerDriver::rows;
    info.columns = 2;
    info.digest = std::string(64, 'd');
    const nlohmann::json json{
        {"format", 1}, {"info", wire::to_json(info)}, {"preprocessing", wire::to_json(preprocessing)}};
    MUSTER_ASSERT(replace_file(folder / "matrix.json", json.dump()).ok());
}

} // namespace

Recipe small_recipe(std::int64_t epochs) {
    Recipe recipe;
    recipe.name = "small";
    recipe.inference = "muster:small";
    recipe.data.source = "made-up";
    recipe.data.target = "y";
    recipe.model.hidden = {16};
    recipe.batch = 256;
    recipe.epochs = epochs;
    recipe.metrics = {"mae"};
    return recipe;
}

Roster roster_of_one(std::int64_t generation) {
    return {"job-1",
            generation,
            std::string(64, 'a'),
            {{"MLTrainingFunction=0", tls::job_uri("job-1", "MLTrainingFunction=0"), {}, 256}}};
}

WorkerDriver::WorkerDriver(const std::vector<std::string>& more_arguments, const std::vector<int>& descriptors)
    : folder_{std::filesystem::temp_directory_path() / ("muster-" + random_hex(8))},
      peers_{process_group::testing::listen_on_loopback()} {
    std::filesystem::create_directories(folder_);
    write_matrix(folder_);
    const UniqueFd control{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    const auto address = address_of(folder_ / "worker.sock");
    MUSTER_ASSERT(::bind(control.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    MUSTER_ASSERT(::listen(control.get(), 4) == 0);
    const UniqueFd output{::open(model().c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
    const UniqueFd errors{::open((folder_ / "log").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)};
    function::ChildSpec spec{.program = MUSTER_WORKER_PROGRAM};
    spec.errors = errors.get();
    spec.descriptors = {control.get(), peers_.fd.get(), output.get()};
    spec.descriptors.insert(spec.descriptors.end(), descriptors.begin(), descriptors.end());
    spec.arguments = {"--control-listen-fd",
                      std::to_string(control.get()),
                      "--peer-listen-fd",
                      std::to_string(peers_.fd.get()),
                      "--output-fd",
                      std::to_string(output.get())};
    std::vector<UniqueFd> data;
    for (const char* name : {"train.features", "train.target", "test.features", "test.target", "matrix.json"}) {
        data.emplace_back(::open((folder_ / name).c_str(), O_RDONLY | O_CLOEXEC));
        spec.descriptors.push_back(data.back().get());
        spec.arguments.insert(spec.arguments.end(),
                              {"--data-fd", std::string{name} + "=" + std::to_string(data.back().get())});
    }
    spec.arguments.insert(spec.arguments.end(), more_arguments.begin(), more_arguments.end());
    child_ = function::ChildProcess::start(spec).value();
}

WorkerDriver::~WorkerDriver() {
    child_->end(std::chrono::seconds{0});
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
}

void WorkerDriver::connect() {
    UniqueFd socket{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    const auto address = address_of(folder_ / "worker.sock");
    MUSTER_ASSERT(::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    socket_.emplace(std::move(socket));
}

void WorkerDriver::disconnect() {
    socket_.reset();
}

void WorkerDriver::send(const ToWorker& message) {
    send_text(wire::to_json(message).dump());
}

void WorkerDriver::send_text(const std::string& text) {
    if (auto sent = socket_->send(text, Deadline::after(patience)); !sent) {
        throw std::runtime_error{sent.error().text() + "\n" + log()};
    }
}

FromWorker WorkerDriver::next() {
    while (true) {
        auto frame = socket_->receive(Deadline::after(patience));
        if (!frame || !*frame) {
            throw std::runtime_error{(frame ? "the worker says nothing" : frame.error().text()) + "\n" + log()};
        }
        const auto json = nlohmann::json::parse((*frame)->text);
        if (!wire::is_dial(json)) {
            return wire::from_worker_from_json(json).value();
        }
        answer_dial((*frame)->text);
    }
}

void WorkerDriver::answer_dial(const std::string& text) {
    const auto request = wire::dial_request_from_json(nlohmann::json::parse(text)).value();
    const auto dialer = collective::tcp_dialer();
    const auto socket = dialer->dial(request.address, Deadline::after(std::chrono::milliseconds{request.timeout_ms}));
    const wire::DialAnswer answer{request.id, socket ? std::string{} : socket.error().text()};
    const auto sent =
        socket_->send(wire::to_json(answer).dump(), Deadline::after(patience), socket ? socket->get() : -1);
    MUSTER_ASSERT(sent.ok());
}

std::string WorkerDriver::wait_exit() {
    auto status = child_->wait(Deadline::after(patience));
    if (!status) {
        throw std::runtime_error{"the worker does not end\n" + log()};
    }
    return *status;
}

std::string WorkerDriver::log() const {
    const auto text = read_file(folder_ / "log");
    return text ? *text : std::string{};
}

} // namespace muster::app::testing
