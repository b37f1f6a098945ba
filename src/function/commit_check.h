/// What a function checks before it signs: that the plan is what was agreed, and with whom it may work.
#pragma once

#include "base/id.h"
#include "base/result.h"
#include "function/policy.h"
#include "model/agreement.h"
#include "model/messages.h"

#include <string>
#include <vector>

namespace muster::function {

/// What the function knows of the job by itself.
struct OwnView {
    std::string dn;
    Propose proposal;                ///< what it accepted
    std::string recipe;              ///< canonical JSON it prepared
    std::string matrix_digest;       ///< of its own encoded data; empty: it holds none
    std::vector<DataSource> sources; ///< its own catalogue
    Secret job_key;                  ///< PEM
    std::int64_t training_rows{};    ///< of its own encoded data
    std::string described_digest{};  ///< of the data that was described to it; empty: it has its own
};

/// Compares a commit with the function's own view and policy and returns its rank.
/// Errors: invalid_argument, permission_denied, resource_exhausted (pinned rows: a batch has too few of them), with
/// what does not match; message is sent to the producer.
[[nodiscard]] Result<int> check_commit(const Commit& commit, const OwnView& own, const Policy& policy);

} // namespace muster::function
