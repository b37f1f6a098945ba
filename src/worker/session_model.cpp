#include "worker/session_model.h"

#include "worker/batch.h"

#include <array>

namespace muster::worker {

Result<std::unique_ptr<UserModel>>
open_user_model(int fd, const Recipe& recipe, const SessionData& data, RunWatch& watch) {
    if (fd < 0) {
        return Error{ErrorCode::invalid_argument, "the archive was not handed to this worker", "/model/archive"};
    }
    auto opened = UserModel::open(fd, &watch);
    if (!opened) {
        return std::move(opened).error();
    }
    if (auto fits = opened->check_recipe(recipe); !fits) {
        return std::move(fits).error();
    }
    const std::int64_t step = recipe.data.text ? recipe.data.text->sequence : 1;
    const std::int64_t samples = data.matrices.train.rows / step;
    if (samples < 1) {
        return Error{ErrorCode::invalid_argument, "the data is shorter than one sample", "/data"};
    }
    const std::array<std::int64_t, 2> rows{0, samples > 1 ? step : 0};
    BatchBuffer buffer{recipe, data.preprocessing, std::ssize(rows)};
    const at::Tensor probe = buffer.gather(data.matrices.train, rows).rows;
    if (auto done = opened->probe(recipe, probe, data.preprocessing.outputs()); !done) {
        return std::move(done).error();
    }
    return std::make_unique<UserModel>(std::move(*opened));
}

} // namespace muster::worker
