#include "producer/calibrations.h"

#include "base/digest.h"
#include "wire/plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

namespace muster::producer {
namespace {

constexpr auto calibration_kind = "calibration";

std::string key_of(const std::string& recipe_digest, const std::string& dn, double cpu_cores) {
    return fmt::format("{}|{}|{:.2f}", recipe_digest, dn, cpu_cores);
}

std::string link_key_of(const std::string& dn, std::vector<std::string> group) {
    std::ranges::sort(group);
    return fmt::format("link|{}|{}", sha256_hex(fmt::format("{}", fmt::join(group, "\n"))), dn);
}

} // namespace

std::optional<Measured>
Calibrations::find(const std::string& recipe_digest, const std::string& dn, double cpu_cores) const {
    const auto record = store_.read(calibration_kind, key_of(recipe_digest, dn, cpu_cores));
    if (!record) {
        return std::nullopt;
    }
    const auto body = nlohmann::json::parse(record->body, nullptr, false);
    if (body.is_discarded() || !body.contains("calibration")) {
        return std::nullopt; // measured again
    }
    auto calibration = wire::calibration_from_json(body["calibration"]);
    if (!calibration) {
        return std::nullopt;
    }
    const auto number = [&](const char* name) { return body.value(name, std::int64_t{0}); };
    return Measured{*std::move(calibration),
                    {.training_rows = number("training_rows"),
                     .validation_rows = number("validation_rows"),
                     .test_rows = number("test_rows"),
                     .columns = number("columns"),
                     .parameters = number("parameters")}};
}

Write Calibrations::write_of(const std::string& recipe_digest,
                             const std::string& dn,
                             double cpu_cores,
                             const Measured& measured) {
    const nlohmann::json body{{"calibration", wire::to_json(measured.calibration)},
                              {"training_rows", measured.shape.training_rows},
                              {"validation_rows", measured.shape.validation_rows},
                              {"test_rows", measured.shape.test_rows},
                              {"columns", measured.shape.columns},
                              {"parameters", measured.shape.parameters}};
    return {.kind = calibration_kind, .key = key_of(recipe_digest, dn, cpu_cores), .body = body.dump()};
}

std::optional<LinkMeasured> Calibrations::find_link(const std::string& dn, std::vector<std::string> group) const {
    const auto record = store_.read(calibration_kind, link_key_of(dn, std::move(group)));
    if (!record) {
        return std::nullopt;
    }
    const auto body = nlohmann::json::parse(record->body, nullptr, false);
    if (body.is_discarded()) {
        return std::nullopt;
    }
    return LinkMeasured{body.value("latency_seconds", 0.0),
                        body.value("bytes_per_second", 0.0),
                        body.value("cpu_seconds_per_byte", 0.0)};
}

Write Calibrations::write_of_link(const std::string& dn, std::vector<std::string> group, const LinkMeasured& measured) {
    const nlohmann::json body{{"latency_seconds", measured.latency_seconds},
                              {"bytes_per_second", measured.bytes_per_second},
                              {"cpu_seconds_per_byte", measured.cpu_seconds_per_byte}};
    return {.kind = calibration_kind, .key = link_key_of(dn, std::move(group)), .body = body.dump()};
}

} // namespace muster::producer
