#include "worker/order_check.h"

#include "model/state_shares.h"
#include "worker/used_rows.h"

#include <algorithm>
#include <numeric>

namespace muster::worker {
namespace {

Result<void> check_stages(const TrainingOrder& order, std::size_t members) {
    const std::size_t chain = stages_of_replica(order.stages);
    if (members < 2 || order.stages.size() != members || order.micro_rows < 1 || chain < 2 || members % chain != 0) {
        return Error{ErrorCode::invalid_argument,
                     "the plan gives " + std::to_string(order.stages.size()) + " stages for " +
                         std::to_string(members) + " members, or micro-batches of no rows"};
    }
    for (std::size_t rank = 0; rank < members; ++rank) {
        const ModelStage& stage = order.stages[rank];
        const ModelStage& same = order.stages[rank % chain];
        if (stage.first_block != same.first_block || stage.blocks != same.blocks ||
            order.batch_rows[rank] != order.batch_rows[rank - rank % chain]) {
            return Error{ErrorCode::invalid_argument,
                         "the plan gives member " + std::to_string(rank) + " other blocks than the same stage of the " +
                             "first replica has, or other rows than its own replica has"};
        }
    }
    if (state_is_sharded(order.state_shares)) {
        return Error{ErrorCode::invalid_argument, "the plan cuts both the model and the optimizer's state"};
    }
    return {};
}

} // namespace

Result<void> check_order(const TrainingOrder& order) {
    const std::size_t members = order.group ? static_cast<std::size_t>(order.group->getSize()) : 1;
    const bool negative = std::ranges::any_of(order.batch_rows, [](std::int64_t rows) { return rows < 0; });
    if (order.batch_rows.size() != members || negative ||
        std::accumulate(order.batch_rows.begin(), order.batch_rows.end(), std::int64_t{0}) < 1) {
        return Error{ErrorCode::invalid_argument,
                     "the plan gives shares for " + std::to_string(order.batch_rows.size()) + " of " +
                         std::to_string(members) + " members, or no rows at all"};
    }
    if (!order.state_shares.empty() && order.state_shares.size() != members) {
        return Error{ErrorCode::invalid_argument,
                     "the plan gives parts of the optimizer's state for " + std::to_string(order.state_shares.size()) +
                         " of " + std::to_string(members) + " members"};
    }
    if (auto checked = check_state_shares(order.state_shares); !checked) {
        return checked;
    }
    if (order.layout == DataLayout::pinned && (!order.stages.empty() || state_is_sharded(order.state_shares))) {
        return Error{ErrorCode::invalid_argument, "the plan cuts the model or its state, but rows are pinned"};
    }
    return order.stages.empty() ? Result<void>{} : check_stages(order, members);
}

// Whoever begins with the model's first block reads the rows.
Result<void> check_rows(const Recipe& recipe, const Matrix& matrix, const TrainingOrder& order) {
    const auto rank = static_cast<std::size_t>(order.group ? order.group->getRank() : 0);
    if (!matrix.held) {
        if (order.stages.empty() || order.stages[rank].first_block == 0) {
            return Error{ErrorCode::invalid_argument,
                         "the plan has this function read rows of data that it does not hold"};
        }
        return {};
    }
    if (row_counts(recipe, matrix).training < 1) {
        return Error{ErrorCode::invalid_argument,
                     recipe.data.text ? "the text is shorter than one sequence" : "no rows are left to train on",
                     recipe.data.text ? "/data/text/sequence" : "/data/validation"};
    }
    return {};
}

} // namespace muster::worker
