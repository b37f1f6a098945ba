/// The Python module muster_c10d._muster: what python/muster_c10d/__init__.py is made of.
#include "process_group/meeting.h"
#include "process_group/world.h"
#include "tls/keys.h"

#include <pybind11/chrono.h>
#include <torch/csrc/utils/pybind.h>

#include <cstdio>

namespace py = pybind11;

namespace muster::process_group {
namespace {

using Seconds = std::chrono::duration<double>;

std::chrono::milliseconds milliseconds(Seconds time) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(time);
}

/// One line on stderr. Not Python's logging: it comes from threads that must never wait for the interpreter.
void report_refusal(const std::string& sentence) {
    std::fprintf(stderr, "muster_c10d: refused: %s\n", sentence.c_str());
}

template <typename T>
T value_of(Result<T> result) {
    if (!result) {
        throw py::value_error(result.error().text());
    }
    return std::move(result).value();
}

Membership make_membership(std::string job,
                           std::int64_t generation,
                           int rank,
                           std::vector<std::string> identities,
                           std::string certificate,
                           std::string key,
                           std::string authority) {
    return {.job = std::move(job),
            .generation = generation,
            .rank = rank,
            .identities = std::move(identities),
            .credentials = {{std::move(certificate), Secret{std::move(key)}}, std::move(authority)}};
}

/// What is known of the first certificate of a PEM text: its SAN, and the seconds until it begins and ends.
py::tuple inspect(const std::string& pem) {
    const auto info = value_of(tls::inspect(pem));
    const auto now = std::chrono::system_clock::now();
    return py::make_tuple(info.identity.uri,
                          info.identity.job,
                          Seconds{info.not_before - now}.count(),
                          Seconds{info.not_after - now}.count());
}

/// Serves a store on `host`. A host that is known to others but not an address of this machine (a forwarded one): on
/// all addresses. Returns the server and the address to tell the others.
py::tuple serve(const Membership& membership, const std::string& host, int port) {
    auto listener = listen_on(host, port);
    if (!listener && listener.error().code == ErrorCode::invalid_argument) {
        listener = listen_on("0.0.0.0", port);
    }
    auto listening = value_of(std::move(listener));
    listening.host = host;
    auto address = listening.address();
    std::shared_ptr<StoreServer> server =
        value_of(StoreServer::start(membership, std::move(listening.fd), report_refusal));
    return py::make_tuple(std::move(server), std::move(address));
}

/// What is known of the connections with each other rank.
py::list edges_of(const World& world) {
    py::list edges;
    for (const auto& edge : world.edges()) {
        py::dict entry;
        entry["rank"] = edge.peer;
        entry["identity"] = edge.name;
        entry["address"] = edge.address;
        entry["bytes_sent"] = edge.bytes_sent;
        entry["bytes_received"] = edge.bytes_received;
        entry["wait_seconds"] = edge.wait_seconds;
        entry["cipher"] = edge.cipher;
        entry["certificate_expires"] = edge.certificate_expires;
        edges.append(std::move(entry));
    }
    return edges;
}

} // namespace
} // namespace muster::process_group

PYBIND11_MODULE(_muster, module) {
    using namespace muster::process_group; // NOLINT(google-build-using-namespace): a table of contents
    using NoGil = py::call_guard<py::gil_scoped_release>;
    py::module_::import("torch._C._distributed_c10d"); // the base classes

    module.attr("torch_version") = MUSTER_TORCH_VERSION;
    module.def("inspect", &inspect);
    module.def("serve", &serve);
    py::class_<Membership>(module, "Membership")
        .def(py::init(&make_membership))
        .def_readonly("job", &Membership::job)
        .def_readonly("generation", &Membership::generation)
        .def_readonly("rank", &Membership::rank)
        .def_readonly("identities", &Membership::identities);
    py::class_<StoreServer, std::shared_ptr<StoreServer>>(module, "StoreServer");
    py::class_<RemoteStore, c10d::Store, c10::intrusive_ptr<RemoteStore>>(module, "Store")
        .def(py::init(
                 [](Membership membership, std::string address, Seconds timeout, std::shared_ptr<StoreServer> server) {
                     return c10::make_intrusive<RemoteStore>(
                         std::move(membership), std::move(address), milliseconds(timeout), std::move(server));
                 }),
             NoGil{})
        .def_property_readonly("session", &RemoteStore::session)
        .def_property_readonly("own_host", &RemoteStore::own_host);
    py::class_<World, std::shared_ptr<World>>(module, "World")
        .def(py::init([](c10::intrusive_ptr<RemoteStore> store, std::string host, Seconds timeout) {
                 return std::make_shared<World>(
                     std::move(store), std::move(host), milliseconds(timeout), report_refusal);
             }),
             NoGil{})
        .def(
            "backend", [](World& world) -> c10::intrusive_ptr<c10d::Backend> { return world.backend(); }, NoGil{})
        .def(
            "subgroup",
            [](World& world, const std::string& name, const std::vector<int>& ranks, Seconds timeout)
                -> c10::intrusive_ptr<c10d::Backend> { return world.subgroup(name, ranks, milliseconds(timeout)); },
            NoGil{})
        .def("edges", &edges_of)
        .def_property_readonly("closed", &World::closed)
        .def_property_readonly("threads", &World::threads);
}
