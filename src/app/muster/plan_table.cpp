#include "app/muster/plan_table.h"

#include "nrm/dn.h"

#include <fmt/format.h>

#include <algorithm>

namespace muster::app {
namespace {

std::vector<std::string> row_of(const nlohmann::json& candidate, bool chosen) {
    std::string functions;
    std::int64_t memory = 0;
    const auto members = candidate.value("members", nlohmann::json::array());
    for (const auto& member : members) {
        functions += functions.empty() ? "" : " ";
        functions += nrm::short_name(member.value("dn", ""));
        if (members.size() > 1) {
            functions += fmt::format(" {:.0f}%", 100.0 * member.value("share", 0.0));
            if (candidate.value("state_sharded", false)) {
                functions += fmt::format(" (state {:.0f}%)", 100.0 * member.value("state_share", 0.0));
            }
        }
        memory = std::max(memory, member.value("peak_memory_bytes", std::int64_t{0}));
    }
    std::string fits = candidate.value("fits", true) ? "yes" : "no: memory";
    if (const double late = candidate.value("late_seconds", 0.0); late > 0.0) {
        fits += ", " + duration_text(late) + " late";
    }
    return {candidate.value("name", "") + (chosen ? "  <-" : ""),
            functions,
            fmt::format("{:.1f} ms", 1e3 * candidate.value("step_seconds", 0.0)),
            duration_text(candidate.value("total_seconds", 0.0)),
            memory > 0 ? bytes_text(static_cast<double>(memory)) : "-",
            bytes_text(static_cast<double>(candidate.value("wire_bytes_per_step", std::int64_t{0}))),
            fits};
}

} // namespace

Table plan_table(const nlohmann::json& plan) {
    Table table{{"PLAN", "FUNCTIONS", "STEP", "TOTAL", "PEAK MEM", "WIRE/STEP", "FITS"}, {}};
    const auto candidates = plan.value("candidates", nlohmann::json::array());
    const auto chosen = plan.value("chosen", nlohmann::json{});
    for (std::size_t i = 0; i < candidates.size(); ++i) {
        table.rows.push_back(row_of(candidates[i], chosen.is_number() && chosen.get<std::size_t>() == i));
    }
    return table;
}

std::string plan_words(const nlohmann::json& plan) {
    std::string words = "Why: " + plan.value("why", std::string{"no plan yet"});
    if (plan.value("provisional", false)) {
        words += " (provisional: not every function was measured on this model)";
    }
    return words;
}

} // namespace muster::app
