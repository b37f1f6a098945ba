/// What an agent and its job are made with: settings, and everything outside them.
#pragma once

#include "base/clock.h"
#include "function/policy.h"
#include "port/producer_link.h"
#include "port/worker_process.h"
#include "tls/keys.h"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

namespace muster::function {

/// What the agent is made with.
struct AgentSettings {
    std::string dn;
    std::string version;
    Policy policy{};
    std::chrono::seconds encode_timeout{600};   ///< for reading and encoding a source
    std::chrono::seconds upload_timeout{600};   ///< for the model archive
    std::chrono::seconds download_timeout{120}; ///< for the program of a user
    std::int64_t program_bytes_max{1LL << 30U}; ///< of such a program
    std::chrono::seconds program_time{60};      ///< one run of it may take, and its loading
    std::filesystem::path downloads{};          ///< folder it is written to; nothing stays in it
    std::filesystem::path arrivals{};           ///< folder whose disk rows of other functions land on, without a name
    std::chrono::seconds kept_rows_time{600};   ///< how long they wait for the job's next attempt
    std::chrono::seconds orphan_time{600};      ///< a running job goes on this long without a producer
    std::chrono::seconds worker_lease{30};      ///< a worker ends by itself this long after the agent is gone
};

/// Everything outside the agent; outlives it.
struct AgentWorld {
    Clock& clock;
    ProducerLink& producer;
    WorkerLauncher& launcher;
    DataProgram& data;
    std::function<Capacity()> capacity;     ///< what the function has now
    std::function<tls::KeyPair()> identity; ///< its certificate and key, which sign agreements
    std::function<std::int64_t()> epoch{};  ///< the producer's, as far as it was seen; none: 0
};

} // namespace muster::function
