/// What the members of a generation agree to: the text whose digest every function signs.
#pragma once

#include "model/stage.h"

#include <cstdint>
#include <string>
#include <vector>

namespace muster {

/// One member's part of an agreement, in rank order.
struct AgreedMember {
    std::string dn;
    std::string identity; ///< SAN URI of its job certificate
    std::int64_t batch_rows{};
    double state_share{1.0}; ///< part of the optimizer's state (model/state_shares.h)
    ModelStage stage{};
    bool holds_data{true};       ///< false: what it needs of the rows comes from other members
    std::string rows_from{};     ///< DN of the member that ships it the rows themselves; empty: nobody
    std::int64_t rows{};         ///< layout "pinned": its own training rows
    std::string matrix_digest{}; ///< layout "pinned": of its own encoded data

    bool operator==(const AgreedMember&) const = default;
};

/// A data source by name and content.
struct AgreedSource {
    std::string name;
    std::string digest; ///< SHA-256 of the content, hex; layout "pinned": empty, each has its own

    bool operator==(const AgreedSource&) const = default;
};

/// Request, recipe, data, layout and shares of one generation of a job. wire/agreement.h makes its canonical JSON.
struct Agreement {
    std::string job;
    std::int64_t generation{};
    std::string request; ///< DN of the MLTrainingRequest
    std::int64_t request_version{};
    std::string consumer;   ///< trainingRequestSource
    std::string recipe;     ///< "name@digest"
    std::string model_kind; ///< e.g. "mlp 256-256"
    std::string layout{"whole"};
    std::string matrix_digest; ///< of the encoded data; equal at all members. Layout "pinned": each has its own
    std::vector<AgreedSource> sources;
    std::int64_t batch{}; ///< global batch, rows
    std::int64_t steps{};
    std::vector<AgreedMember> members;
    std::int64_t micro_rows{}; ///< of a pipeline: rows of a micro-batch; 0: data parallelism

    bool operator==(const Agreement&) const = default;
};

} // namespace muster
