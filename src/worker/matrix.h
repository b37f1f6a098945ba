/// Memory-mapped matrix files as muster-data leaves them (formats: model/preprocessing.h). No torch.
#pragma once

#include "base/result.h"
#include "model/preprocessing.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

namespace muster::worker {

/// A file of float32 numbers, mapped read-only and shared. Movable, one owner.
class MappedFloats {
public:
    MappedFloats() = default;
    /// Maps the file behind `fd`, which stays the caller's and may be closed afterwards.
    /// Errors: invalid_argument, naming `name`, when the file does not hold exactly `count` numbers; unavailable.
    [[nodiscard]] static Result<MappedFloats> map(int fd, std::int64_t count, const char* name);
    /// `count` zeros that take no memory. Errors: unavailable.
    [[nodiscard]] static Result<MappedFloats> zeros(std::int64_t count);
    ~MappedFloats();
    MappedFloats(MappedFloats&& other) noexcept;
    MappedFloats& operator=(MappedFloats&& other) noexcept;

    [[nodiscard]] std::span<const float> values() const;

private:
    void* data_{};
    std::size_t bytes_{};
};

/// Encoded rows with their targets.
struct Matrix {
    MappedFloats features; ///< [rows, columns] row-major
    MappedFloats target;   ///< [rows], raw unit or class index
    std::int64_t rows{};
    std::int64_t columns{};
    bool held{true}; ///< false: the data is at other functions, and here are zeros of its size

    /// Inputs of the sample that ends with a row: it and those before it, [window, columns].
    [[nodiscard]] std::span<const float> inputs_of(std::int64_t index, std::int64_t window) const {
        return {row(index - window + 1), static_cast<std::size_t>(window * columns)};
    }
    [[nodiscard]] const float* row(std::int64_t index) const { return features.values().data() + index * columns; }
    [[nodiscard]] float target_of(std::int64_t index) const { return target.values()[static_cast<std::size_t>(index)]; }
};

/// What a job trains and tests on. `test` has zero rows when there is no test source.
struct MatrixSet {
    Matrix train;
    Matrix test;
};

/// Descriptors of the four files; the test ones may be -1 when `test_rows` is 0. They stay the caller's.
struct MatrixDescriptors {
    int train_features{-1};
    int train_target{-1};
    int test_features{-1};
    int test_target{-1};
};

/// Maps the files of already opened descriptors (the worker's sandbox allows no open()).
/// Errors: invalid_argument, when a file's size disagrees with `info`; unavailable.
[[nodiscard]] Result<MatrixSet> map_matrices(const MatrixDescriptors& files, const MatrixInfo& info);

/// Stands in for data that this function does not hold: zeros, good for measuring and nothing else.
/// Errors: invalid_argument, when the sizes are impossible; unavailable.
[[nodiscard]] Result<MatrixSet> matrices_elsewhere(const MatrixInfo& info);

/// Opens and maps the files of a cache folder. Errors: not_found, and those of map_matrices.
[[nodiscard]] Result<MatrixSet> open_matrices(const std::filesystem::path& folder, const MatrixInfo& info);

} // namespace muster::worker
