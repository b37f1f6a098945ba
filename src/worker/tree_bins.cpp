#include "worker/tree_bins.h"

#include "worker/lightgbm_api.h"
#include "worker/split_mix.h"
#include "worker/tree_network.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

namespace muster::worker {
namespace {

constexpr double zero_max = 1e-35F;               ///< LightGBM's kZeroThreshold: such values are left out
constexpr std::size_t sampled_rows_max = 200'000; ///< LightGBM's default
constexpr std::size_t sampled_rows_min = 20'000;
constexpr std::size_t sampled_cells_max = 1U << 24U; ///< wide tables: 200 MB of sample are enough
constexpr std::size_t pushed_cells_max = 1U << 20U;

std::vector<std::int64_t> sample_of(const TreeData& data, std::uint64_t seed) {
    std::vector<std::int64_t> rows{data.training_rows.begin(), data.training_rows.end()};
    const std::size_t wanted = std::min(
        rows.size(),
        std::clamp(sampled_cells_max / static_cast<std::size_t>(data.columns), sampled_rows_min, sampled_rows_max));
    if (wanted == rows.size()) {
        return rows;
    }
    SplitMix random{seed};
    for (std::size_t i = 0; i < wanted; ++i) {
        std::swap(rows[i], rows[i + random.below(rows.size() - i)]);
    }
    rows.resize(wanted);
    std::ranges::sort(rows);
    return rows;
}

const float* row_of(const TreeData& data, std::int64_t row) {
    return data.features.data() + row * data.columns;
}

} // namespace

void TreeDatasetDeleter::operator()(void* dataset) const {
    lightgbm::LGBM_DatasetFree(dataset);
}

std::string make_bins(const TreeData& data, const std::string& settings, std::uint64_t seed) {
    const auto rows = sample_of(data, seed);
    const auto columns = static_cast<std::size_t>(data.columns);
    std::vector<std::vector<double>> values(columns);
    std::vector<std::vector<int>> places(columns);
    for (std::size_t place = 0; place < rows.size(); ++place) {
        const float* row = row_of(data, rows[place]);
        for (std::size_t column = 0; column < columns; ++column) {
            const double value = row[column];
            if (!(std::abs(value) <= zero_max)) {
                values[column].push_back(value);
                places[column].push_back(static_cast<int>(place));
            }
        }
    }
    std::vector<double*> value_pointers;
    std::vector<int*> place_pointers;
    std::vector<int> counts;
    for (std::size_t column = 0; column < columns; ++column) {
        value_pointers.push_back(values[column].data());
        place_pointers.push_back(places[column].data());
        counts.push_back(static_cast<int>(values[column].size()));
    }
    void* handle = nullptr;
    check_lightgbm(lightgbm::LGBM_DatasetCreateFromSampledColumn(value_pointers.data(),
                                                                 place_pointers.data(),
                                                                 static_cast<std::int32_t>(columns),
                                                                 counts.data(),
                                                                 static_cast<std::int32_t>(rows.size()),
                                                                 static_cast<std::int32_t>(rows.size()),
                                                                 static_cast<std::int64_t>(data.training_rows.size()),
                                                                 settings.c_str(),
                                                                 &handle));
    const TreeDataset sample{handle};
    void* buffer = nullptr;
    std::int32_t bytes = 0;
    check_lightgbm(lightgbm::LGBM_DatasetSerializeReferenceToBinary(sample.get(), &buffer, &bytes));
    std::string bins;
    bins.reserve(static_cast<std::size_t>(bytes));
    for (std::int32_t i = 0; i < bytes; ++i) {
        std::uint8_t byte = 0;
        check_lightgbm(lightgbm::LGBM_ByteBufferGetAt(buffer, i, &byte));
        bins.push_back(static_cast<char>(byte));
    }
    check_lightgbm(lightgbm::LGBM_ByteBufferFree(buffer));
    return bins;
}

TreeDataset bin_own_rows(const TreeData& data, const std::string& bins, int outputs, const std::string& settings) {
    void* handle = nullptr;
    check_lightgbm(lightgbm::LGBM_DatasetCreateFromSerializedReference(bins.data(),
                                                                       static_cast<std::int32_t>(bins.size()),
                                                                       static_cast<std::int64_t>(data.own_rows.size()),
                                                                       outputs,
                                                                       settings.c_str(),
                                                                       &handle));
    TreeDataset dataset{handle};
    const auto columns = static_cast<std::size_t>(data.columns);
    const std::size_t rows_at_once = std::max<std::size_t>(pushed_cells_max / columns, 1);
    std::vector<float> rows;
    std::size_t first = 0;
    while (first < data.own_rows.size()) { // The last push makes the data set complete.
        const std::size_t count = std::min(rows_at_once, data.own_rows.size() - first);
        rows.resize(count * columns);
        for (std::size_t i = 0; i < count; ++i) {
            std::copy_n(row_of(data, data.own_rows[first + i]),
                        columns,
                        rows.begin() + static_cast<std::ptrdiff_t>(i * columns));
        }
        check_lightgbm(lightgbm::LGBM_DatasetPushRows(dataset.get(),
                                                      rows.data(),
                                                      lightgbm::type_float32,
                                                      static_cast<std::int32_t>(count),
                                                      static_cast<std::int32_t>(columns),
                                                      static_cast<std::int32_t>(first)));
        first += count;
    }
    return dataset;
}

} // namespace muster::worker
