#include "model/calibration.h"

#include <algorithm>

namespace muster {
namespace {

double median(std::vector<double> values) {
    if (values.empty()) {
        return 0.0;
    }
    std::ranges::sort(values);
    const std::size_t middle = values.size() / 2;
    return values.size() % 2 == 1 ? values[middle] : 0.5 * (values[middle - 1] + values[middle]);
}

} // namespace

Calibration::Fit Calibration::fit() const {
    std::vector<double> slopes;
    for (std::size_t i = 0; i < steps.size(); ++i) {
        for (std::size_t j = i + 1; j < steps.size(); ++j) {
            if (steps[i].batch != steps[j].batch) {
                slopes.push_back((steps[j].seconds - steps[i].seconds) /
                                 static_cast<double>(steps[j].batch - steps[i].batch));
            }
        }
    }
    Fit line;
    if (slopes.empty()) {
        line.per_row =
            steps.empty() ? 0.0
                          : steps.front().seconds / static_cast<double>(std::max<std::int64_t>(1, steps.front().batch));
        return line;
    }
    line.per_row = std::max(0.0, median(slopes));
    std::vector<double> offsets;
    for (const StepTime& step : steps) {
        offsets.push_back(step.seconds - line.per_row * static_cast<double>(step.batch));
    }
    line.fixed = std::max(0.0, median(offsets));
    return line;
}

std::int64_t Calibration::memory_at(std::int64_t batch) const {
    if (memory.empty()) {
        return 0;
    }
    const auto [low, high] = std::ranges::minmax_element(memory, {}, &PeakMemory::batch);
    if (low->batch == high->batch) {
        return high->bytes;
    }
    const double slope =
        std::max(0.0, static_cast<double>(high->bytes - low->bytes) / static_cast<double>(high->batch - low->batch));
    const double at = static_cast<double>(low->bytes) + slope * static_cast<double>(batch - low->batch);
    return static_cast<std::int64_t>(std::max(at, static_cast<double>(low->bytes)));
}

} // namespace muster
