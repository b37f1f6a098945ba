#include "producer/candidates.h"

#include "base/pattern.h"
#include "wire/recipe.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace muster::producer {
namespace {

const DataSource* source_of(const FunctionState& function, const std::string& name) {
    const auto found = std::ranges::find(function.sources, name, &DataSource::name);
    return found == function.sources.end() ? nullptr : &*found;
}

bool covers(const std::string& suggestion, const std::string& dn) {
    return dn == suggestion || dn.starts_with(suggestion + ",");
}

/// Whether the job needs the rows of every site that has some, and waits for those that are away.
bool waits_for_sites(const Desk& desk, DataLayout layout) {
    return layout == DataLayout::pinned && desk.settings.missing_rows == MissingRows::wait;
}

/// Why the function cannot be asked now; empty: it can. `later` is set when that may change by itself.
std::string
obstacle(const Desk& desk, const LiveJob& job, const FunctionState& function, DataLayout layout, bool& later) {
    const bool waits = waits_for_sites(desk, layout);
    if (const auto found = job.record.excluded.find(function.dn); found != job.record.excluded.end()) {
        const Exclusion& exclusion = found->second;
        const bool was_away = waits && exclusion.code == "lost"; // it is asked again when it is back
        if (!was_away && (exclusion.until_ms == 0 || desk.wall_ms() < exclusion.until_ms)) {
            later = later || exclusion.until_ms != 0;
            return fmt::format("{}: {}", exclusion.code, exclusion.words);
        }
    }
    if (!function.connected) {
        later = later || waits;
        return "not connected";
    }
    const auto& names = function.inference_names;
    if (!names.empty() && std::ranges::none_of(names, [&](const std::string& pattern) {
            return matches(pattern, job.record.inference);
        })) {
        return fmt::format("its policy does not allow \"{}\"", job.record.inference);
    }
    if (function.busy || !function.job.empty()) {
        later = true;
        return function.releasing ? "is being released" : "is busy with another job";
    }
    return {};
}

/// Whether the model may be cut into stages, as far as the recipe says.
bool may_be_split(const nlohmann::json& recipe) {
    const auto parsed = wire::recipe_from_json(recipe);
    if (!parsed || block_count(*parsed) == 0 || parsed->optimizer.state == StateKind::sharded) {
        return false;
    }
    const DistributionKind strategy = parsed->distribution.strategy;
    return strategy == DistributionKind::pipeline || strategy == DistributionKind::automatic;
}

/// Whether rows may be shipped for such a job, as far as the recipe says: to whoever shares the rows of a network.
/// Boosted trees are grown by those that have the rows already: what they cost is measured on rows.
bool may_be_shipped(const nlohmann::json& recipe) {
    const auto parsed = wire::recipe_from_json(recipe);
    if (!parsed || has_trees(*parsed)) {
        return false;
    }
    const DistributionKind strategy = parsed->distribution.strategy;
    return strategy == DistributionKind::data_parallel || strategy == DistributionKind::automatic;
}

/// Whether a holder's catalogue lets the function have all that the job reads.
bool may_ship(const LiveJob& job, const FunctionState& holder, const std::string& to) {
    const auto needed = sources_of(job.record.recipe);
    return std::ranges::all_of(needed, [&](const std::string& name) {
        const DataSource* source = source_of(holder, name);
        return source != nullptr && may_receive_rows(*source, to, job.record.consumer);
    });
}

/// Of the holders those that may ship the rows to the function.
std::vector<std::string>
senders_to(const LiveJob& job, const std::vector<FunctionState>& holders, const std::string& to) {
    std::vector<std::string> senders;
    for (const FunctionState& holder : holders) {
        if (may_ship(job, holder, to)) {
            senders.push_back(holder.dn);
        }
    }
    return senders;
}

/// Where the rows of a job are: as the recipe says; where it leaves that open, pinned when contents differ and all
/// catalogues say so.
DataLayout layout_of(const std::vector<FunctionState>& functions, const Recipe& recipe) {
    if (recipe.data.layout != LayoutKind::automatic) {
        return recipe.data.layout == LayoutKind::pinned ? DataLayout::pinned : DataLayout::whole;
    }
    std::set<std::string> digests;
    bool all_pinned = true;
    for (const FunctionState& function : functions) {
        if (const DataSource* source = source_of(function, recipe.data.source)) {
            digests.insert(source->digest);
            all_pinned = all_pinned && source->pinned;
        }
    }
    return digests.size() > 1 && all_pinned ? DataLayout::pinned : DataLayout::whole;
}

/// Who is asked where rows are pinned: all who have some.
Choice choose_sites(const Desk& desk, const LiveJob& job, const Recipe& recipe) {
    Choice choice{.layout = DataLayout::pinned};
    if (auto fits = check_pinned(recipe); !fits) {
        choice.refusal = fmt::format(
            "the rows of \"{}\" stay at the sites that own them: {}", recipe.data.source, fits.error().text());
        return choice;
    }
    for (const FunctionState& function : desk.fleet.all()) {
        if (source_of(function, recipe.data.source) == nullptr) {
            choice.reasons.emplace(function.dn,
                                   fmt::format("has no rows of \"{}\", which stay at their sites", recipe.data.source));
            continue;
        }
        std::string reason = obstacle(desk, job, function, choice.layout, choice.later);
        if (reason.empty() && choice.candidates.size() == desk.settings.candidates_max) {
            reason = fmt::format("{} sites are asked at most (limits.candidates_max)", choice.candidates.size());
        }
        if (reason.empty()) {
            choice.candidates.push_back(function.dn);
        } else {
            choice.missing.push_back(function.dn);
            choice.reasons.emplace(function.dn, std::move(reason));
        }
    }
    return choice;
}

} // namespace

Choice choose(const Desk& desk, const LiveJob& job) {
    if (const auto recipe = wire::recipe_from_json(job.record.recipe);
        recipe && layout_of(desk.fleet.all(), *recipe) == DataLayout::pinned) {
        return choose_sites(desk, job, *recipe);
    }
    Choice choice;
    std::map<std::string, std::vector<FunctionState>> by_data;
    std::vector<FunctionState> without_data;
    const std::string source = job.record.recipe.at("data").value("source", "");
    const std::string home = desk.request_of(job).parent().text();
    for (const FunctionState& function : desk.fleet.all()) {
        if (std::string reason = obstacle(desk, job, function, choice.layout, choice.later); !reason.empty()) {
            choice.reasons.emplace(function.dn, std::move(reason));
        } else if (const DataSource* own = source_of(function, source)) {
            by_data[own->digest].push_back(function);
        } else {
            without_data.push_back(function);
        }
    }
    const auto preferred = [&](const FunctionState& function) {
        const bool suggested = std::ranges::any_of(
            job.wish.suggested, [&](const std::string& suggestion) { return covers(suggestion, function.dn); });
        return function.dn == home ? 2 : suggested ? 1 : 0;
    };
    const auto worth = [&](const auto& group) {
        int best = 0;
        for (const FunctionState& function : group.second) {
            best = std::max(best, preferred(function));
        }
        return std::pair{best, group.second.size()};
    };
    const auto take = [&](std::vector<FunctionState>& functions) {
        std::ranges::stable_sort(functions, [&](const FunctionState& a, const FunctionState& b) {
            return std::pair{preferred(a), a.capacity.cpu_cores} > std::pair{preferred(b), b.capacity.cpu_cores};
        });
        for (const FunctionState& function : functions) {
            if (choice.candidates.size() < desk.settings.candidates_max) {
                choice.candidates.push_back(function.dn);
            } else {
                choice.reasons.emplace(function.dn, "enough others are faster");
            }
        }
    };
    const auto best = std::ranges::max_element(by_data, {}, worth);
    for (auto group = by_data.begin(); group != by_data.end(); ++group) {
        if (group != best) {
            for (const FunctionState& function : group->second) {
                choice.reasons.emplace(
                    function.dn,
                    fmt::format("its \"{}\" has other content; where sites have rows of their own, write data.layout: "
                                "pinned in the recipe",
                                source));
            }
            continue;
        }
        take(group->second);
    }
    const std::size_t holders = choice.candidates.size();
    // What a stage passes on is made of rows, and targets are some of them: their holders decide.
    const bool leaves = best != by_data.end() && std::ranges::all_of(best->second, [&](const FunctionState& function) {
                            return source_of(function, source)->may_leave;
                        });
    choice.for_stages = leaves && may_be_split(job.record.recipe);
    const bool ships = best != by_data.end() && may_be_shipped(job.record.recipe);
    std::vector<FunctionState> useful;
    for (const FunctionState& function : without_data) {
        auto senders = ships ? senders_to(job, best->second, function.dn) : std::vector<std::string>{};
        std::erase_if(senders, [&](const std::string& dn) { // a holder that is not asked ships nothing
            return std::ranges::find(choice.candidates, dn) == choice.candidates.end();
        });
        if (choice.for_stages || !senders.empty()) {
            useful.push_back(function);
            choice.rows_from[function.dn] = std::move(senders);
            continue;
        }
        choice.reasons.emplace(
            function.dn,
            fmt::format("does not hold the data \"{}\"{}",
                        source,
                        best != by_data.end() && !leaves ? ", which may not leave its holders" : ""));
    }
    take(useful);
    choice.without_data = {choice.candidates.begin() + static_cast<std::ptrdiff_t>(holders), choice.candidates.end()};
    return choice;
}

std::vector<std::string> sources_of(const nlohmann::json& recipe) {
    std::vector<std::string> sources{recipe.at("data").at("source").get<std::string>()};
    if (const std::string test = recipe.at("data").value("test", ""); !test.empty()) {
        sources.push_back(test);
    }
    return sources;
}

std::vector<std::string> unknown_suggestions(const Fleet& fleet, const Wish& wish) {
    std::vector<std::string> unknown;
    const auto functions = fleet.all();
    for (const std::string& suggestion : wish.suggested) {
        if (std::ranges::none_of(functions, [&](const FunctionState& f) { return covers(suggestion, f.dn); })) {
            unknown.push_back(suggestion);
        }
    }
    return unknown;
}

std::string reasons_text(const Choice& choice) {
    if (choice.reasons.empty()) {
        return "no training function is known";
    }
    std::string text;
    for (const auto& [dn, reason] : choice.reasons) {
        text += fmt::format("{}{} {}", text.empty() ? "" : "; ", dn, reason);
    }
    return text;
}

StepShape steps_of(const Recipe& recipe, std::int64_t training_rows) {
    if (has_trees(recipe)) {
        return {.batch = training_rows, .steps = recipe.model.trees->trees};
    }
    return {.batch = std::min(recipe.batch, training_rows),
            .steps = recipe.epochs * ((training_rows + recipe.batch - 1) / recipe.batch)};
}

DataShape shape_of(const Prepared& prepared) {
    return {.training_rows = prepared.training_rows,
            .validation_rows = prepared.validation_rows,
            .test_rows = prepared.matrix.test_rows,
            .columns = prepared.matrix.columns,
            .parameters = prepared.parameters};
}

void add_rows(DataShape& all, const DataShape& site) {
    all.training_rows += site.training_rows;
    all.validation_rows += site.validation_rows;
    all.test_rows += site.test_rows;
    all.columns = site.columns; // as at all others
    all.parameters = site.parameters;
}

void ask_as_recipe(const Recipe& recipe, const DataShape& shape, planner::Question& question) {
    const StepShape steps = steps_of(recipe, shape.training_rows);
    question.batch = steps.batch;
    question.steps = steps.steps;
    question.scoring = scoring_work(recipe, shape);
    question.row_bytes = (shape.training_rows + shape.validation_rows + shape.test_rows) * (shape.columns + 1) *
                         static_cast<std::int64_t>(sizeof(float));
    if (question.layout == DataLayout::pinned) {
        question.scoring.baseline_passes = 0;
    }
    question.strategy = recipe.distribution.strategy;
    if (const auto& trees = recipe.model.trees) {
        // To split a leaf, histograms are reduced and the best splits gathered: what LightGBM's learner does.
        constexpr std::int64_t exchanges_of_split = 2;
        question.exchanges = exchanges_of_split * trees->leaves;
        return;
    }
    question.state = recipe.optimizer.state;
    question.state_per_parameter = state_per_parameter(recipe.optimizer);
}

std::vector<std::int64_t> batches_to_time(std::int64_t batch) {
    return {std::max<std::int64_t>(1, batch / 8),
            std::max<std::int64_t>(2, batch / 4),
            std::max<std::int64_t>(4, batch / 2)};
}

} // namespace muster::producer
