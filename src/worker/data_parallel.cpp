#include "worker/data_parallel.h"

namespace muster::worker {

DataParallel::DataParallel(ModelProgram& program,
                           const Recipe& recipe,
                           const Preprocessing& preprocessing,
                           Ranks& ranks,
                           std::int64_t steps,
                           std::vector<double> state_shares,
                           std::vector<double> class_weights)
    : program_{program}, ranks_{ranks}, step_{program,
                                              recipe,
                                              preprocessing,
                                              ranks,
                                              ranks.shares()[ranks.rank()] + 1, // a short batch rounds up
                                              steps,
                                              std::move(state_shares),
                                              std::move(class_weights)} {}

StepOutcome DataParallel::step(const Matrix& matrix, std::span<const std::int64_t> rows, bool stop_wanted) {
    const Interval own = ranks_.own_part({0, std::ssize(rows)});
    return step_.run(matrix,
                     rows.subspan(static_cast<std::size_t>(own.begin), static_cast<std::size_t>(own.size())),
                     std::ssize(rows),
                     stop_wanted,
                     own.begin);
}

} // namespace muster::worker
