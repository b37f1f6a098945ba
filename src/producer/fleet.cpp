#include "producer/fleet.h"

#include "base/assert.h"
#include "base/log.h"
#include "producer/records.h"
#include "wire/plan.h"

#include <algorithm>
#include <cmath>

namespace muster::producer {
namespace {

constexpr double noise = 0.1; ///< memory and storage may move this much before it is news

bool moved(std::int64_t before, std::int64_t after) {
    return std::abs(static_cast<double>(after - before)) >
           noise * static_cast<double>(std::max<std::int64_t>(before, 1));
}

bool is_news(const Capacity& before, const Capacity& after) {
    Capacity same = after;
    same.memory_bytes = before.memory_bytes;
    same.storage_bytes = before.storage_bytes;
    return same != before || moved(before.memory_bytes, after.memory_bytes) ||
           moved(before.storage_bytes, after.storage_bytes);
}

Result<nrm::Dn> checked_dn(const std::string& dn, const Hello& hello, const std::string& root) {
    auto parsed = nrm::Dn::parse(dn);
    const auto base = nrm::Dn::parse(root);
    if (!parsed || hello.dn != dn || !base || !parsed->within(*base) ||
        parsed->leaf().class_name != "MLTrainingFunction") {
        return Error{ErrorCode::invalid_argument,
                     "a function must name itself as its certificate does, an MLTrainingFunction below " + root};
    }
    for (std::size_t i = base->depth(); i + 1 < parsed->depth(); ++i) {
        const std::string& parent = parsed->components()[i].class_name;
        if (parent != "SubNetwork" && parent != "ManagedElement") {
            return Error{ErrorCode::invalid_argument, "an MLTrainingFunction cannot be below a " + parent};
        }
    }
    return parsed;
}

/// The parents of a function that do not exist yet are made.
void create_parents(Transaction& transaction, const nrm::Dn& dn) {
    if (dn.depth() == 1 || transaction.find(dn.parent()) != nullptr) {
        return;
    }
    create_parents(transaction, dn.parent());
    transaction.create(dn.parent(), nrm::Json::object());
}

} // namespace

void Fleet::load() {
    const auto root = nrm::Dn::parse(settings_.root);
    const auto objects = tree_.read(*root, {.type = nrm::ScopeType::base_all});
    std::vector<std::string> known;
    {
        const std::scoped_lock lock{mutex_};
        for (const nrm::Object& object : *objects) {
            if (object.dn.leaf().class_name == "MLTrainingFunction" && object.dn.text() != settings_.own_function) {
                functions_[object.dn.text()].dn = object.dn.text();
                known.push_back(object.dn.text());
            }
        }
    }
    for (const std::string& dn : known) {
        const auto container = tree_.find(nrm::Dn::parse(dn)->child("VsDataContainer", "capacity"));
        if (!container) {
            continue;
        }
        const std::scoped_lock lock{mutex_};
        restore_capacity(container->attributes, functions_[dn]);
    }
    for (const std::string& dn : known) {
        write_object(dn); // now disconnected
    }
}

Result<void> Fleet::hello(const std::string& dn, const Hello& hello) {
    const auto name = checked_dn(dn, hello, settings_.root);
    if (!name) {
        return name.error();
    }
    if (dn == settings_.own_function) {
        return Error{ErrorCode::invalid_argument, "this name is the producer's own entry"};
    }
    {
        const std::scoped_lock lock{mutex_};
        FunctionState& state = functions_[dn];
        state.dn = dn;
        state.connected = true;
        state.version = hello.version;
        state.capacity = hello.capacity;
        state.sources = hello.sources;
        state.inference_names = hello.inference_names;
        state.busy = hello.busy && hello.jobs.empty(); // jobs of ours say it themselves
        state.job.clear();                             // what it holds, it says in hello.jobs
        state.releasing = false;
        state.since = clock_.steady_now();
    }
    write_object(dn);
    return {};
}

void Fleet::heartbeat(const std::string& dn, const Heartbeat& heartbeat) {
    bool news = false;
    {
        const std::scoped_lock lock{mutex_};
        const auto found = functions_.find(dn);
        if (found == functions_.end()) {
            return;
        }
        FunctionState& state = found->second;
        news = is_news(state.capacity, heartbeat.capacity) &&
               clock_.steady_now() - state.written_at >= settings_.capacity_every;
        if (news || !is_news(state.capacity, heartbeat.capacity)) {
            state.capacity = heartbeat.capacity;
        }
    }
    if (news) {
        write_object(dn);
    }
}

void Fleet::lost(const std::string& dn) {
    {
        const std::scoped_lock lock{mutex_};
        const auto found = functions_.find(dn);
        if (found == functions_.end()) {
            return;
        }
        found->second.connected = false;
        found->second.job.clear();
        found->second.releasing = false;
        found->second.since = clock_.steady_now();
    }
    write_object(dn);
}

std::vector<FunctionState> Fleet::all() const {
    const std::scoped_lock lock{mutex_};
    std::vector<FunctionState> found;
    for (const auto& [dn, state] : functions_) {
        found.push_back(state);
    }
    return found;
}

std::optional<FunctionState> Fleet::find(const std::string& dn) const {
    const std::scoped_lock lock{mutex_};
    const auto found = functions_.find(dn);
    return found == functions_.end() ? std::nullopt : std::optional{found->second};
}

void Fleet::reserve(const std::string& dn, const std::string& job) {
    const std::scoped_lock lock{mutex_};
    FunctionState& state = functions_.at(dn);
    MUSTER_ASSERT(state.job.empty());
    state.job = job;
    state.releasing = false;
}

void Fleet::adopt(const std::string& dn, const std::string& job) {
    const std::scoped_lock lock{mutex_};
    functions_.at(dn).job = job;
    functions_.at(dn).releasing = false;
}

void Fleet::release(const std::string& dn, const std::string& job, const std::string& reason, bool keep_rows) {
    {
        const std::scoped_lock lock{mutex_};
        const auto found = functions_.find(dn);
        if (found == functions_.end() || !found->second.connected) {
            return; // it will be told when it is back and lists the job
        }
        FunctionState& state = found->second;
        if (state.job.empty() || state.job == job) {
            state.job = job;
            state.releasing = true;
            state.free_at = clock_.steady_now() + settings_.release_wait;
        }
    }
    if (auto sent = link_.send(dn, Release{job, reason, keep_rows}); !sent) {
        log::warning("release not sent function={} job={} reason=\"{}\"", dn, job, sent.error().text());
    }
}

void Fleet::released(const std::string& dn, const std::string& job) {
    const std::scoped_lock lock{mutex_};
    const auto found = functions_.find(dn);
    if (found != functions_.end() && found->second.job == job) {
        found->second.job.clear();
        found->second.releasing = false;
    }
}

void Fleet::tick(SteadyTime now) {
    std::vector<std::pair<std::string, KeepAlive>> messages;
    {
        const std::scoped_lock lock{mutex_};
        const bool time_to_keep = now - kept_alive_ >= settings_.keep_alive_every;
        for (auto& [dn, state] : functions_) {
            if (state.releasing && now >= state.free_at) {
                log::warning(
                    "function counts as free without having answered Release function={} job={}", dn, state.job);
                state.job.clear();
                state.releasing = false;
            }
            if (time_to_keep && state.connected && !state.job.empty() && !state.releasing) {
                messages.push_back({dn, KeepAlive{{state.job}, settings_.lease.count()}});
            }
        }
        kept_alive_ = time_to_keep ? now : kept_alive_;
    }
    for (const auto& [dn, message] : messages) {
        if (auto sent = link_.send(dn, message); !sent) {
            log::warning("keep-alive not sent function={} reason=\"{}\"", dn, sent.error().text());
        }
    }
}

void Fleet::write_object(const std::string& dn) {
    FunctionState state;
    {
        const std::scoped_lock lock{mutex_};
        functions_.at(dn).written_at = clock_.steady_now();
        state = functions_.at(dn);
    }
    const auto name = nrm::Dn::parse(dn);
    const auto done = tree_.transact(Origin::producer, [&](Transaction& transaction) -> Result<void> {
        create_parents(transaction, *name);
        transaction.put(*name, function_attributes(state.inference_names, settings_.repository));
        transaction.put(name->child("VsDataContainer", "capacity"), capacity_record(state));
        return {};
    });
    if (!done) {
        log::error("function not recorded function={} reason=\"{}\"", dn, done.error().text());
    }
}

} // namespace muster::producer
