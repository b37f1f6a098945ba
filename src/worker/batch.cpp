#include "worker/batch.h"

#include "base/assert.h"

#include <ATen/Functions.h>

#include <algorithm>

namespace muster::worker {
namespace {

template <typename Number>
void copy_rows(const Matrix& matrix, std::span<const std::int64_t> numbers, std::int64_t window, Number* to) {
    for (const std::int64_t number : numbers) {
        MUSTER_ASSERT(number - window + 1 >= 0 && number < matrix.rows);
        to = std::ranges::copy(matrix.inputs_of(number, window), to).out;
    }
}

/// Standardises in double: the difference of two large targets keeps its digits.
template <typename Number>
void copy_target(const Matrix& matrix, std::span<const std::int64_t> numbers, double mean, double scale, Number* to) {
    for (const std::int64_t number : numbers) {
        *to++ = static_cast<Number>((static_cast<double>(matrix.target_of(number)) - mean) / scale);
    }
}

} // namespace

BatchBuffer::BatchBuffer(const Recipe& recipe,
                         const Preprocessing& preprocessing,
                         std::int64_t rows_max,
                         c10::Device device)
    : mean_{task_of(recipe) == TaskKind::regression ? preprocessing.target.mean : 0.0},
      scale_{task_of(recipe) == TaskKind::regression ? preprocessing.target.scale : 1.0},
      sequence_{recipe.data.text ? recipe.data.text->sequence : 0}, device_{device}, window_{window_rows(recipe)} {
    if (sequence_ > 0) {
        rows_ = at::empty({rows_max, sequence_}, at::kLong);
        target_ = at::empty({rows_max, sequence_}, at::kLong);
        return;
    }
    const auto type = recipe.number_type == NumberType::fp64 ? at::kDouble : at::kFloat;
    const std::int64_t columns = preprocessing.encoded_columns();
    rows_ = recipe.data.windows ? at::empty({rows_max, window_, columns}, type) : at::empty({rows_max, columns}, type);
    target_ = preprocessing.outputs() > 1 ? at::empty({rows_max}, at::kLong) : at::empty({rows_max, 1}, type);
}

at::Tensor BatchBuffer::gather_rows(const Matrix& matrix, std::span<const std::int64_t> numbers) {
    MUSTER_ASSERT(matrix.columns == rows_.size(-1) && std::ssize(numbers) <= rows_.size(0));
    if (rows_.scalar_type() == at::kDouble) {
        copy_rows(matrix, numbers, window_, rows_.mutable_data_ptr<double>());
    } else {
        copy_rows(matrix, numbers, window_, rows_.mutable_data_ptr<float>());
    }
    return rows_.narrow(0, 0, std::ssize(numbers));
}

Batch BatchBuffer::gather_text(const Matrix& matrix, std::span<const std::int64_t> numbers) {
    MUSTER_ASSERT(matrix.columns == 1 && std::ssize(numbers) <= rows_.size(0));
    auto* token = rows_.mutable_data_ptr<std::int64_t>();
    auto* next = target_.mutable_data_ptr<std::int64_t>();
    for (const std::int64_t first : numbers) {
        MUSTER_ASSERT(first + sequence_ <= matrix.rows);
        for (std::int64_t row = first; row < first + sequence_; ++row) {
            *token++ = static_cast<std::int64_t>(*matrix.row(row));
            *next++ = static_cast<std::int64_t>(matrix.target_of(row));
        }
    }
    return {rows_.narrow(0, 0, std::ssize(numbers)), target_.narrow(0, 0, std::ssize(numbers))};
}

Batch BatchBuffer::gather(const Matrix& matrix, std::span<const std::int64_t> numbers) {
    const Batch batch = gather_on_host(matrix, numbers);
    return device_.is_cpu() ? batch : Batch{.rows = batch.rows.to(device_), .target = batch.target.to(device_)};
}

Batch BatchBuffer::gather_on_host(const Matrix& matrix, std::span<const std::int64_t> numbers) {
    if (sequence_ > 0) {
        return gather_text(matrix, numbers);
    }
    Batch batch{.rows = gather_rows(matrix, numbers), .target = target_.narrow(0, 0, std::ssize(numbers))};
    switch (target_.scalar_type()) {
    case at::kLong:
        copy_target(matrix, numbers, 0.0, 1.0, target_.mutable_data_ptr<std::int64_t>());
        break;
    case at::kDouble:
        copy_target(matrix, numbers, mean_, scale_, target_.mutable_data_ptr<double>());
        break;
    default:
        copy_target(matrix, numbers, mean_, scale_, target_.mutable_data_ptr<float>());
        break;
    }
    return batch;
}

} // namespace muster::worker
