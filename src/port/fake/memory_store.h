/// A Store in memory: forgets everything at the end of the process, and is otherwise as strict as the real one.
#pragma once

#include "base/guarded.h"
#include "port/store.h"

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace muster {

/// Keeps records in a map. Safe from any thread. Can be told to be down, as a real store can be.
class MemoryStore final : public Store {
public:
    [[nodiscard]] std::optional<Record> read(const std::string& kind, const std::string& key) override {
        return state_.with([&](const State& state) -> std::optional<Record> {
            state.require_up();
            const auto found = state.records.find({kind, key});
            return found == state.records.end() ? std::nullopt : std::optional{found->second};
        });
    }

    [[nodiscard]] std::vector<Record> list(const std::string& kind, const std::string& prefix) override {
        return state_.with([&](const State& state) {
            state.require_up();
            std::vector<Record> found;
            for (auto at = state.records.lower_bound({kind, prefix});
                 at != state.records.end() && at->first.first == kind && at->first.second.starts_with(prefix);
                 ++at) {
                found.push_back(at->second);
            }
            return found;
        });
    }

    /// Within one commit each write sees those before it.
    [[nodiscard]] Result<void> commit(std::span<const Write> writes) override {
        return state_.with([&](State& state) -> Result<void> {
            state.require_up();
            Records next = state.records; // all writes or none
            for (const Write& write : writes) {
                if (auto done = apply(next, write); !done) {
                    return done;
                }
            }
            state.records = std::move(next);
            return {};
        });
    }

    /// While down, every call throws StoreDown and nothing changes.
    void set_down(bool down) {
        state_.with([down](State& state) { state.down = down; });
    }

private:
    using Records = std::map<std::pair<std::string, std::string>, Record>;
    struct State {
        Records records;
        bool down{false};

        void require_up() const {
            if (down) {
                throw StoreDown{"the store in memory was told to be down"};
            }
        }
    };

    static Result<void> apply(Records& records, const Write& write) {
        const auto found = records.find({write.kind, write.key});
        const std::int64_t version = found == records.end() ? 0 : found->second.version;
        if (write.expected && *write.expected != version) {
            return Error{ErrorCode::conflict,
                         write.kind + " " + write.key + " has version " + std::to_string(version) + ", not " +
                             std::to_string(*write.expected)};
        }
        if (write.body) {
            records.insert_or_assign({write.kind, write.key}, Record{write.kind, write.key, *write.body, version + 1});
        } else if (found != records.end()) {
            records.erase(found);
        }
        return {};
    }

    Guarded<State> state_;
};

} // namespace muster
