#include "producer/blame.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <optional>
#include <string_view>

namespace muster::producer {
namespace {

/// How the agent begins when its worker's process has ended by itself.
constexpr std::string_view worker_ended = "worker ended";
/// How the worker begins when it is the model that fails; a user's program may put any name into its words.
constexpr std::string_view model_failed = "model: ";

/// Where `dn` was named last, as a whole and not as the start of a longer name.
std::optional<std::size_t> last_mention(const std::string& text, const std::string& dn) {
    const auto goes_on = [&](std::size_t end) {
        const auto is_part = [&](std::size_t at) {
            return at < text.size() && (std::isalnum(static_cast<unsigned char>(text[at])) != 0 || text[at] == '-' ||
                                        text[at] == '_' || text[at] == '.');
        };
        return is_part(end) || (end < text.size() && text[end] == ',' && is_part(end + 1));
    };
    constexpr auto none = std::string::npos;
    for (std::size_t at = text.rfind(dn); at != none; at = at == 0 ? none : text.rfind(dn, at - 1)) {
        if (!goes_on(at + dn.size())) {
            return at;
        }
    }
    return std::nullopt;
}

/// The other member that a report blames; none when it speaks of itself.
std::optional<std::string> accused_by(const FailureReport& report, const std::vector<std::string>& members) {
    if (report.reason.starts_with(worker_ended) || report.reason.starts_with(model_failed)) {
        return std::nullopt;
    }
    std::optional<std::string> accused;
    std::size_t furthest = 0;
    for (const std::string& dn : members) {
        const auto at = dn == report.dn ? std::nullopt : last_mention(report.reason, dn);
        if (at && (!accused || *at > furthest)) {
            accused = dn;
            furthest = *at;
        }
    }
    return accused;
}

struct Accusation {
    std::string dn;
    std::size_t count{};
    std::string words; ///< of the first report
    bool has_spoken{};
};

} // namespace

std::map<std::string, Exclusion> blame(const std::vector<std::string>& members,
                                       const std::vector<FailureReport>& reports) {
    std::map<std::string, Exclusion> own;
    std::vector<Accusation> accusations; // in the order in which they came
    for (const FailureReport& report : reports) {
        const auto accused = accused_by(report, members);
        if (!accused) {
            own[report.dn] = {"failed", report.reason};
            continue;
        }
        auto found = std::ranges::find(accusations, *accused, &Accusation::dn);
        if (found == accusations.end()) {
            const bool has_spoken = std::ranges::find(reports, *accused, &FailureReport::dn) != reports.end();
            found = accusations.insert(found,
                                       {*accused, 0, fmt::format("{} says: {}", report.dn, report.reason), has_spoken});
        }
        ++found->count;
    }
    if (!own.empty()) {
        return own;
    }
    const auto worst = std::ranges::max_element(accusations, [](const Accusation& a, const Accusation& b) {
        return a.count != b.count ? a.count < b.count : a.has_spoken && !b.has_spoken;
    });
    return {{worst->dn, {"failed", worst->words}}};
}

} // namespace muster::producer
