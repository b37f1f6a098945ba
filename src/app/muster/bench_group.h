/// The parent of a bench: starts one process for each rank, gives it throw-away certificates, and collects figures.
#pragma once

#include "base/clock.h"
#include "base/fd.h"
#include "base/result.h"
#include "function/child_process.h"
#include "tls/keys.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace muster::app {

/// Where a rank runs: the address that it listens on and the others dial, and the words that start it there
/// ("ip", "netns", "exec", "a", "/usr/bin/muster"); "bench rank" is appended. The first word is looked up in $PATH.
struct BenchPlace {
    std::string host;
    std::vector<std::string> command;
};

/// What all groups of a bench are made with. Absent: the engine's own choice.
struct BenchSettings {
    Duration operation_timeout{std::chrono::seconds{60}}; ///< of each collective, and of joining
    std::optional<std::size_t> segment_bytes{};
    std::optional<std::size_t> small_bytes_max{};
    std::optional<int> stripes{};
};

struct BenchCase {
    std::string operation; ///< of bench_operations()
    std::size_t bytes{};   ///< of the whole that the ranks share or exchange, at each rank
    int rounds{};
    int warm_up{}; ///< rounds before them that are not counted
};

/// What a case took. Times are of one call after a barrier, at the slowest rank of each round.
struct BenchFigures {
    double p50_ms{};
    double p95_ms{};
    double min_ms{};
    double cpu_ms{};               ///< of one round, mean of the ranks: every thread of the process
    std::int64_t bytes_sent{};     ///< of one round, the most of any rank
    std::int64_t bytes_received{}; ///< of one round, the most of any rank
};

/// Ranks as processes, and their group over mutual TLS, certified by a CA that lives as long as this object. One
/// thread; an interrupt (interrupt.h) ends every wait. The destructor ends the processes.
class BenchGroup {
public:
    /// Starts a process at each place; each makes the buffers that `cases` need.
    /// Errors: unavailable, naming the rank; deadline_exceeded.
    [[nodiscard]] static Result<BenchGroup>
    start(const std::vector<BenchPlace>& places, const std::vector<BenchCase>& cases, BenchSettings settings);

    /// Makes a group of the next generation, with new certificates, in place of the one before. Returns the
    /// seconds from the moment when the first rank was told all addresses until the last one was a member.
    /// Errors: as start.
    [[nodiscard]] Result<double> connect();
    /// Runs a case in the group. Errors: as start, and when a result was wrong.
    [[nodiscard]] Result<BenchFigures> measure(const BenchCase& wanted);
    /// Most resident memory of any rank beyond what it had with its buffer before the first connect(), bytes.
    [[nodiscard]] Result<std::int64_t> memory_bytes();
    /// Of the last connect().
    [[nodiscard]] const std::string& cipher() const { return cipher_; }

private:
    struct Rank {
        std::string host;
        function::ChildProcess process;
        UniqueFd orders;
        UniqueFd answers;
        std::string read{}; ///< what has come of the next line
        std::string address{};
    };

    BenchGroup(BenchSettings settings, tls::Authority authority)
        : settings_{settings}, authority_{std::move(authority)} {}

    Result<void> start_rank(const BenchPlace& place);
    /// Sends each rank its order and waits for every answer.
    Result<std::vector<nlohmann::json>> ask(const std::vector<nlohmann::json>& orders, Deadline deadline);
    Result<std::vector<nlohmann::json>> ask_all(const nlohmann::json& order, Deadline deadline);
    /// Reads what rank `number` has sent; its answer when that was a whole line.
    Result<std::optional<nlohmann::json>> read_answer(std::size_t number);
    [[nodiscard]] Error ended(std::size_t number);

    BenchSettings settings_;
    tls::Authority authority_;
    std::string job_{};
    std::int64_t generation_{0};
    std::string cipher_{};
    std::vector<Rank> ranks_{};
};

} // namespace muster::app
