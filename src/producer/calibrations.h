/// What was measured, kept so that nothing is measured twice.
#pragma once

#include "base/result.h"
#include "model/calibration.h"
#include "model/scoring.h"
#include "port/store.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace muster::producer {

/// What is known of one function and one recipe.
struct Measured {
    Calibration calibration{}; ///< without link figures
    DataShape shape{};         ///< what it was measured on
};

/// Latency, bandwidth and own CPU time that one function saw in a group.
struct LinkMeasured {
    double latency_seconds{};
    double bytes_per_second{};
    double cpu_seconds_per_byte{};
};

/// Keeps measurements in the store (kind "calibration"). Safe from any thread. All methods throw StoreDown.
class Calibrations {
public:
    explicit Calibrations(Store& store) : store_{store} {}
    /// For this recipe on this function with this much CPU.
    [[nodiscard]] std::optional<Measured>
    find(const std::string& recipe_digest, const std::string& dn, double cpu_cores) const;
    [[nodiscard]] static Write
    write_of(const std::string& recipe_digest, const std::string& dn, double cpu_cores, const Measured& measured);

    /// For `dn` in the group of exactly these functions.
    [[nodiscard]] std::optional<LinkMeasured> find_link(const std::string& dn, std::vector<std::string> group) const;
    [[nodiscard]] static Write
    write_of_link(const std::string& dn, std::vector<std::string> group, const LinkMeasured& measured);

private:
    Store& store_;
};

} // namespace muster::producer
