#include "worker/matrix.h"

#include "base/fd.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <system_error>
#include <utility>

namespace muster::worker {
namespace {

Error system_error(const char* name, const char* what) {
    return {
        ErrorCode::unavailable, std::string{name} + ": " + what + ": " + std::generic_category().message(errno), name};
}

Result<Matrix> map_pair(int features, int target, std::int64_t rows, std::int64_t columns, bool test) {
    Matrix matrix{.features = {}, .target = {}, .rows = rows, .columns = columns, .held = true};
    auto mapped = MappedFloats::map(features, rows * columns, test ? "test.features" : "train.features");
    if (!mapped) {
        return std::move(mapped).error();
    }
    matrix.features = std::move(mapped).value();
    auto mapped_target = MappedFloats::map(target, rows, test ? "test.target" : "train.target");
    if (!mapped_target) {
        return std::move(mapped_target).error();
    }
    matrix.target = std::move(mapped_target).value();
    return matrix;
}

} // namespace

Result<MappedFloats> MappedFloats::map(int fd, std::int64_t count, const char* name) {
    const std::int64_t size = ::lseek(fd, 0, SEEK_END); // the box forbids fstat()
    if (size < 0) {
        return system_error(name, "lseek");
    }
    constexpr auto count_max = INT64_MAX / static_cast<std::int64_t>(sizeof(float));
    if (count < 0 || count > count_max || size != count * static_cast<std::int64_t>(sizeof(float))) {
        return Error{ErrorCode::invalid_argument,
                     std::string{name} + " has " + std::to_string(size) + " bytes, its description says " +
                         std::to_string(count) + " numbers of 4 bytes",
                     name};
    }
    MappedFloats mapped;
    mapped.bytes_ = static_cast<std::size_t>(size);
    if (mapped.bytes_ > 0) {
        void* address = ::mmap(nullptr, mapped.bytes_, PROT_READ, MAP_SHARED, fd, 0);
        if (address == MAP_FAILED) {
            return system_error(name, "mmap");
        }
        mapped.data_ = address;
    }
    return mapped;
}

Result<MappedFloats> MappedFloats::zeros(std::int64_t count) {
    MappedFloats mapped;
    mapped.bytes_ = static_cast<std::size_t>(count) * sizeof(float);
    if (mapped.bytes_ > 0) {
        // Pages that are only read are all the kernel's one page of zeros.
        constexpr int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
        void* address = ::mmap(nullptr, mapped.bytes_, PROT_READ, flags, -1, 0);
        if (address == MAP_FAILED) {
            return system_error("zeros", "mmap");
        }
        mapped.data_ = address;
    }
    return mapped;
}

MappedFloats::~MappedFloats() {
    if (data_ != nullptr) {
        ::munmap(data_, bytes_);
    }
}

MappedFloats::MappedFloats(MappedFloats&& other) noexcept
    : data_{std::exchange(other.data_, nullptr)}, bytes_{std::exchange(other.bytes_, 0)} {}

MappedFloats& MappedFloats::operator=(MappedFloats&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
}

std::span<const float> MappedFloats::values() const {
    return {static_cast<const float*>(data_), bytes_ / sizeof(float)};
}

namespace {

/// Errors: invalid_argument, when no matrix can have these sizes.
Result<void> check_sizes(const MatrixInfo& info) {
    constexpr std::int64_t cells_max = std::int64_t{1} << 48U; // keeps rows * columns far from overflow
    if (info.rows < 1 || info.columns < 1 || info.test_rows < 0 || info.rows > cells_max / info.columns ||
        info.test_rows > cells_max / info.columns) {
        return Error{ErrorCode::invalid_argument,
                     "a matrix of " + std::to_string(info.rows) + " rows, " + std::to_string(info.test_rows) +
                         " test rows and " + std::to_string(info.columns) + " columns cannot be trained on",
                     "matrix.json"};
    }
    return {};
}

} // namespace

Result<MatrixSet> map_matrices(const MatrixDescriptors& files, const MatrixInfo& info) {
    if (auto checked = check_sizes(info); !checked) {
        return std::move(checked).error();
    }
    auto train = map_pair(files.train_features, files.train_target, info.rows, info.columns, false);
    if (!train) {
        return std::move(train).error();
    }
    MatrixSet set{.train = std::move(train).value(), .test = {}};
    set.test.columns = info.columns;
    if (info.test_rows > 0) {
        auto test = map_pair(files.test_features, files.test_target, info.test_rows, info.columns, true);
        if (!test) {
            return std::move(test).error();
        }
        set.test = std::move(test).value();
    }
    return set;
}

Result<MatrixSet> matrices_elsewhere(const MatrixInfo& info) {
    if (auto checked = check_sizes(info); !checked) {
        return std::move(checked).error();
    }
    const auto zeros = [&](std::int64_t rows) -> Result<Matrix> {
        auto features = MappedFloats::zeros(rows * info.columns);
        auto target = MappedFloats::zeros(rows);
        if (!features || !target) {
            return features ? std::move(target).error() : std::move(features).error();
        }
        return Matrix{.features = std::move(*features),
                      .target = std::move(*target),
                      .rows = rows,
                      .columns = info.columns,
                      .held = false};
    };
    auto train = zeros(info.rows);
    auto test = zeros(info.test_rows);
    if (!train || !test) {
        return train ? std::move(test).error() : std::move(train).error();
    }
    return MatrixSet{.train = std::move(*train), .test = std::move(*test)};
}

Result<MatrixSet> open_matrices(const std::filesystem::path& folder, const MatrixInfo& info) {
    const auto open = [&](const char* name) { return UniqueFd{::open((folder / name).c_str(), O_RDONLY | O_CLOEXEC)}; };
    const UniqueFd train_features = open("train.features");
    const UniqueFd train_target = open("train.target");
    const bool test = info.test_rows > 0;
    const UniqueFd test_features = test ? open("test.features") : UniqueFd{};
    const UniqueFd test_target = test ? open("test.target") : UniqueFd{};
    if (!train_features.valid() || !train_target.valid() ||
        (test && (!test_features.valid() || !test_target.valid()))) {
        return Error{ErrorCode::not_found, "matrix files are missing in " + folder.string(), folder.string()};
    }
    return map_matrices({train_features.get(), train_target.get(), test_features.get(), test_target.get()}, info);
}

} // namespace muster::worker
