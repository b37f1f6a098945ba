/// What producer and functions say to each other on the control channel, as values (JSON: wire/messages.h).
///
/// Order in a job: Propose -> Accept | Refuse | Counter; Prepare -> (Gathered; Prepare ->) Prepared; Calibrate ->
/// Calibrated; Commit -> Committed | Refuse; Start -> Progress..., Done | Failed; Release -> Released at any time.
/// Every message may arrive twice; (job, generation) and the message's type make it idempotent.
#pragma once

#include "model/calibration.h"
#include "model/capacity.h"
#include "model/layout.h"
#include "model/preprocessing.h"
#include "model/roster.h"
#include "model/score.h"
#include "model/statistics.h"

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace muster {

// ---- producer -> function ----

/// First answer on a new connection.
struct Welcome {
    std::int64_t epoch{}; ///< of the producer; a function refuses a lower one than it has seen
    std::int64_t heartbeat_busy_ms{200};
    std::int64_t heartbeat_idle_ms{2000};
};

/// Asks whether a function would take part. Says nothing of the data or the weights.
struct Propose {
    std::string job;
    std::string consumer;               ///< trainingRequestSource
    std::string caller;                 ///< authenticated identity that created the request
    std::string inference;              ///< aIMLInferenceName
    std::string recipe;                 ///< "name@digest"
    std::string model_kind;             ///< for people and policy, e.g. "mlp 256-256"
    std::vector<std::string> sources;   ///< data names needed, the training source first; none: a part of a model
                                        ///< whose data is at the peers
    std::vector<std::string> peers;     ///< DNs of the other candidates
    std::vector<std::string> receivers; ///< DNs without the data, which would get what is computed from rows of this
                                        ///< function, and their targets
    std::vector<std::string> row_receivers{}; ///< DNs without the data, to which this function would ship the rows
    bool receives_rows{};                     ///< the data is at peers, which would ship the rows to this function
    std::int64_t memory_bytes{};              ///< wanted; 0 unknown yet
    double cpu_cores{};                       ///< wanted; 0 means as much as policy gives
    std::int64_t expected_seconds{};          ///< 0 unknown
    std::int64_t lease_seconds{30};
    DataLayout layout{DataLayout::whole}; ///< pinned: statistics of the rows are asked for, no row leaves
};

/// Data that a function does not hold, as one that does has described it: enough to hold a part of a model that the
/// rows pass through, or to make room for the rows. No row is in it.
struct DataElsewhere {
    MatrixInfo matrix{};
    Preprocessing preprocessing{};
    std::int64_t training_rows{};
    std::int64_t validation_rows{};
};

/// Asks an accepting function to read its data and start its worker. `recipe` is the recipe's canonical JSON.
/// In layout "pinned" it comes twice: without `preprocessing` it asks for Gathered only, with it for Prepared.
struct Prepare {
    std::string job;
    std::string recipe;
    std::optional<DataElsewhere> data{};          ///< for one whose proposal named no sources
    std::optional<Preprocessing> preprocessing{}; ///< layout "pinned": what all sites encode their rows by
};

/// Generation 0: certificates good for calibration only.
struct Calibrate {
    std::string job;
    std::string certificate;           ///< PEM, this member's, with its chain
    std::string authority;             ///< PEM, the job CA: the only trust anchor of the data plane
    Roster roster;                     ///< generation 0
    std::vector<std::int64_t> batches; ///< three sizes to time
    bool measure_steps{true};          ///< false when the compute calibration is known and only links are wanted
};

/// The plan to agree to. The function checks peers, egress and digest against its own policy and signs.
struct Commit {
    std::string job;
    std::string certificate;
    std::string authority;
    Roster roster;         ///< generation >= 1; roster.plan_digest is what is signed
    std::string agreement; ///< canonical JSON whose SHA-256 is the plan digest (wire/agreement.h)
    std::vector<PerformanceRequirement> requirements;
    std::int64_t lease_seconds{30};
};

/// All have signed: train.
struct Start {
    std::string job;
    std::int64_t generation{};
};

/// Ends a job at the function whatever its state, and frees its lease. `reason` is for people.
struct Release {
    std::string job;
    std::string reason;
    bool keep_rows{}; ///< rows that were shipped here are kept for the job's next attempt; else they are deleted
};

/// Keeps the leases of the named jobs alive for lease_seconds more.
struct KeepAlive {
    std::vector<std::string> jobs;
    std::int64_t lease_seconds{30};
};

using ToFunction = std::variant<Welcome, Propose, Prepare, Calibrate, Commit, Start, Release, KeepAlive>;

// ---- function -> producer ----

/// A job as a function knows it, for adoption after a producer restart.
struct HeldJob {
    std::string job;
    std::int64_t generation{};
    std::string state; ///< accepted, gathered, prepared, calibrated, committed, running, done, failed
};

/// First message on a new connection.
struct Hello {
    std::string dn;      ///< must equal the authenticated DN
    std::string version; ///< of the agent
    Capacity capacity;
    std::vector<DataSource> sources;
    std::vector<std::string> inference_names; ///< allowed by policy; empty: all
    std::vector<HeldJob> jobs;
    bool busy{};
};

struct Heartbeat {
    Capacity capacity;
    std::vector<HeldJob> jobs;
};

/// Yes, for lease_seconds, within limits. `csr` asks for the job's certificate; its key never leaves.
struct Accept {
    std::string job;
    std::int64_t lease_seconds{};
    double cpu_cores{};
    std::int64_t memory_bytes{};
    bool may_calibrate{true};
    std::string csr;                          ///< PEM
    std::vector<std::string> addresses;       ///< of its data plane, "host:port"
    std::vector<DataSource> sources;          ///< those asked for, with digests
    std::int64_t ship_bytes_per_second_max{}; ///< rows leave no faster; 0: as fast as it goes
};

/// No. `code` is one of: policy_hours, policy_consumer, policy_inference, policy_model, policy_peer,
/// policy_egress, policy_rows, busy, no_data, no_memory, bad_digest, unknown_job, broken.
struct Refuse {
    std::string job;
    std::int64_t generation{};
    std::string code;
    std::string words;
    std::int64_t retry_after_seconds{};
};

/// Yes, but smaller: the producer may accept this by going on, or release.
struct Counter {
    Accept offer;
    std::string words;
};

/// Layout "pinned": what the function's own rows say, without small groups (policy.group_rows_min).
struct Gathered {
    std::string job;
    TableStatistics statistics;
};

struct Prepared {
    std::string job;
    MatrixInfo matrix;
    std::int64_t training_rows{};
    std::int64_t validation_rows{};
    std::int64_t parameters{};        ///< trained scalars
    std::vector<std::string> outputs; ///< names of the model's outputs (the target)
    Preprocessing preprocessing{};    ///< what the rows were encoded by
};

struct Calibrated {
    std::string job;
    Calibration calibration;
};

/// Evidence of the mutual agreement. `signature` is base64 over the plan digest with the function's own key.
struct Committed {
    std::string job;
    std::int64_t generation{};
    std::string plan_digest;
    std::string signature;
    std::string certificate; ///< PEM of the key that signed
};

/// State of a running job, from each member; at most a few a second.
struct Progress {
    std::string job;
    std::int64_t generation{};
    std::int64_t step{};
    std::int64_t steps{};
    std::int64_t epoch{};
    double loss{};
    double rows_per_second{};           ///< own rows, since the first step
    double compute_seconds{};           ///< own, summed since start
    double wait_seconds{};              ///< own, waiting for others, summed since start
    std::int64_t bytes_sent{};          ///< on the data plane, summed since start
    std::vector<Score> validation;      ///< of the last finished epoch, rank 0 only
    std::int64_t rows_arrived_bytes{};  ///< before the first step, where rows are shipped to this member
    std::int64_t rows_expected_bytes{}; ///< of all of them; 0: none are shipped to it
};

/// How a model did on one class against the rest.
struct ClassScores {
    std::string name;          ///< as in the data
    std::int64_t rows{};       ///< of this class
    std::vector<Score> scores; ///< precision, recall, F1, AUC

    bool operator==(const ClassScores&) const = default;
};

/// How a model did on the rows of one category: of a cell, of a scenario.
struct GroupScores {
    std::string input;         ///< the column
    std::string name;          ///< the category; empty: missing or not seen in training
    std::int64_t rows{};       ///< of this category
    std::vector<Score> scores; ///< all that fit the task

    bool operator==(const GroupScores&) const = default;
};

/// How one model did on one set of rows.
struct EvaluationResult {
    std::string model; ///< "trained", "naive", "linear"
    std::string rows;  ///< "training", "validation", "test"
    std::vector<Score> scores;
    std::vector<ClassScores> classes{};                 ///< of the trained model, where it tells classes apart
    std::vector<std::vector<std::int64_t>> confusion{}; ///< [class][predicted class] rows, where there are few classes
    std::vector<GroupScores> groups{};                  ///< of the trained model, by the recipe's report_by
};

/// What one member shipped to another, as both of them know it.
struct Shipment {
    std::string from;            ///< DN
    std::string to;              ///< DN
    std::int64_t bytes{};        ///< of all rows
    std::int64_t resumed_from{}; ///< how many of them were there from an attempt before
    std::string digest;          ///< of the matrix, as the receiver has verified it
    double seconds{};

    bool operator==(const Shipment&) const = default;
};

/// A member has finished. Rank 0 carries the model, uploaded before as a blob named by `model_sha256`.
struct Done {
    std::string job;
    std::int64_t generation{};
    std::int64_t steps{};
    std::int64_t rows{}; ///< own rows trained on, summed over steps
    double seconds{};
    double first_step_seconds{}; ///< from Start to the end of the first step
    double compute_seconds{};
    double wait_seconds{};
    std::int64_t bytes_sent{};
    std::int64_t peak_memory_bytes{}; ///< most resident memory of the worker, since its start
    std::int64_t state_bytes{};       ///< of the optimizer's state at this member
    bool stopped_early{};
    std::int64_t best_epoch{-1}; ///< whose model this is, from 0 on; -1: that of the last one
    std::string model_sha256{};  ///< rank 0 only
    std::int64_t model_bytes{};
    std::string parameters_digest{};             ///< SHA-256 of the final parameters: all members must agree
    std::vector<EvaluationResult> evaluations{}; ///< rank 0 only
    Preprocessing preprocessing{};               ///< rank 0 only
    std::vector<Shipment> shipments{};           ///< that this member sent or received
};

struct Failed {
    std::string job;
    std::int64_t generation{};
    std::string reason; ///< for people, naming the culprit where known
};

struct Released {
    std::string job;
};

using FromFunction = std::variant<Hello,
                                  Heartbeat,
                                  Accept,
                                  Refuse,
                                  Counter,
                                  Prepared,
                                  Calibrated,
                                  Committed,
                                  Progress,
                                  Done,
                                  Failed,
                                  Released,
                                  Gathered>;

} // namespace muster
