/// The training functions: who is connected, what they have, and which job holds them.
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "model/messages.h"
#include "port/function_link.h"
#include "producer/object_tree.h"
#include "producer/settings.h"

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace muster::producer {

/// One function as the producer knows it.
struct FunctionState {
    std::string dn;
    bool connected{};
    std::string version{};
    Capacity capacity{};
    std::vector<DataSource> sources{};
    std::vector<std::string> inference_names{}; ///< empty: all
    bool busy{};                                ///< by its own word, with something that is not ours
    std::string job{};                          ///< wire id of the job that holds it; empty: free
    bool releasing{};                           ///< Release was sent, Released has not come
    SteadyTime since{};                         ///< of the connection, or of its loss
    SteadyTime free_at{};                       ///< when releasing: then it counts as free
    SteadyTime written_at{};                    ///< of its capacity object
};

/// Keeps the functions and their MLTrainingFunction objects. A function is in one job at a time. Changed by the
/// reconcile loop only; reading is safe from any thread. Methods that write throw StoreDown.
class Fleet {
public:
    Fleet(ObjectTree& tree, FunctionLink& link, Clock& clock, const Settings& settings)
        : tree_{tree}, link_{link}, clock_{clock}, settings_{settings} {}

    /// Takes over the functions in the tree as disconnected.
    void load();
    /// Errors: invalid_argument, when the DN is not an MLTrainingFunction below our root, or is not its own.
    [[nodiscard]] Result<void> hello(const std::string& dn, const Hello& hello);
    void heartbeat(const std::string& dn, const Heartbeat& heartbeat);
    /// Marks it as gone; whatever job held it no longer does.
    void lost(const std::string& dn);

    [[nodiscard]] std::vector<FunctionState> all() const;
    [[nodiscard]] std::optional<FunctionState> find(const std::string& dn) const;

    /// Gives the function to a job. REQUIRES: it is free
    void reserve(const std::string& dn, const std::string& job);
    /// Takes a function back into a job that it reports itself.
    void adopt(const std::string& dn, const std::string& job);
    /// Sends Release if it is connected; the function is free when it answers, is lost, or release_wait is over.
    void release(const std::string& dn, const std::string& job, const std::string& reason, bool keep_rows = false);
    void released(const std::string& dn, const std::string& job);
    /// Frees functions whose release_wait is over and keeps leases alive. Call in each step.
    void tick(SteadyTime now);

private:
    void write_object(const std::string& dn);

    ObjectTree& tree_;
    FunctionLink& link_;
    Clock& clock_;
    const Settings& settings_;
    mutable std::mutex mutex_{};
    std::map<std::string, FunctionState> functions_{};
    SteadyTime kept_alive_{};
};

} // namespace muster::producer
