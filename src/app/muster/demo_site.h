/// The demo's little network on this machine: a CA, a producer and training functions of unequal speed.
#pragma once

#include "app/muster/client.h"
#include "base/result.h"
#include "function/child_process.h"

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace muster::app {

/// What the demo is made of.
struct DemoSettings {
    std::filesystem::path folder;  ///< everything is kept below it
    std::filesystem::path example; ///< examples/ue-delay
    std::vector<double> cores;     ///< one function for each entry
};

/// Owns the processes; the destructor ends them all. One thread.
class DemoSite {
public:
    /// Makes CA, certificates and configuration files and starts everything. `stop` is asked while it waits.
    /// Errors: unavailable, naming the process and its last words; deadline_exceeded.
    [[nodiscard]] static Result<DemoSite> start(const DemoSettings& settings, const std::function<bool()>& stop);

    /// The consumer's client file.
    [[nodiscard]] const std::filesystem::path& client_file() const { return client_file_; }
    [[nodiscard]] Client& client() { return *client_; }

private:
    DemoSite() = default;
    [[nodiscard]] Result<void> make_keys(const DemoSettings& settings);
    [[nodiscard]] Result<void> start_producer(const DemoSettings& settings, const std::function<bool()>& stop);
    [[nodiscard]] Result<void> start_function(const DemoSettings& settings, std::size_t index);
    [[nodiscard]] Result<void> wait_connected(std::size_t count, const std::function<bool()>& stop);

    std::filesystem::path client_file_;
    std::string address_;
    std::string fingerprint_;
    std::optional<Client> client_;
    std::optional<function::ChildProcess> producer_;
    std::vector<function::ChildProcess> functions_; // after the producer: they end first
};

} // namespace muster::app
