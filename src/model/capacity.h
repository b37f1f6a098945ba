/// What a training function has, and what it offers to a job.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace muster {

/// The resources of one training function. Source: TS 28.105 clause 6.2b.2.14 names the kinds
/// (CPU, GPU, DPU, memory, storage, network bandwidth); no attribute of the standard carries them.
struct Capacity {
    double cpu_cores{}; ///< usable cores after cgroup quota and local policy, e.g. 0.25
    int gpu_count{};
    int dpu_count{};
    std::int64_t memory_bytes{};  ///< usable by workers: the smaller of cgroup limit, free memory and policy
    std::int64_t storage_bytes{}; ///< free under the function's state folder
    std::int64_t bandwidth_bits_per_second{}; ///< towards the other functions; configured, 0 when unknown
    std::string cpu_model{};                  ///< for people, e.g. "AMD EPYC"

    bool operator==(const Capacity&) const = default;
};

/// To whom rows may be sent, and for whose jobs. Patterns: `*` stands for any text.
struct RowGrant {
    std::string to;       ///< DN of the receiving function
    std::string consumer; ///< trainingRequestSource

    bool operator==(const RowGrant&) const = default;
};

/// One entry of a function's data catalogue. The location stays at the function.
struct DataSource {
    std::string name;     ///< e.g. "ue-delay/train"
    std::int64_t bytes{}; ///< size of the file or files
    std::string digest{}; ///< SHA-256 of the content, hex; equal digests mean equal rows
    bool may_leave{};     ///< whether targets, and what is computed from rows, may be sent to a function without
                          ///< the data
    bool pinned{};        ///< whether all of its rows stay here: sites of that name have rows of their own
    std::vector<RowGrant> rows_may_leave{}; ///< who may get the rows themselves; none: nobody

    bool operator==(const DataSource&) const = default;
};

/// Whether a function may be sent rows of the source for a consumer's job.
[[nodiscard]] bool may_receive_rows(const DataSource& source, const std::string& to, const std::string& consumer);

} // namespace muster
