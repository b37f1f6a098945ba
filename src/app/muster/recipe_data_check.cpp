#include "app/muster/recipe_data_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace muster::app {
namespace {

using nlohmann::json;

constexpr std::int64_t many_categories = 100;

class Checker {
public:
    Checker(const Recipe& recipe, const json& inspection, const wire::Places& places)
        : recipe_{recipe}, places_{places} {
        for (const json& column : inspection.at("columns")) {
            names_.push_back(column.at("name").get<std::string>());
            columns_.push_back(column);
        }
    }

    DataCheck run() {
        const RecipeData& data = recipe_.data;
        expect("/data/target", data.target);
        expect_all("/data/exclude", data.exclude);
        expect_all("/data/categorical", data.categorical);
        if (const auto& windows = data.windows) {
            expect("/data/windows/time", windows->time);
            expect("/data/windows/series", windows->series);
        }
        if (const auto& history = data.history) {
            expect("/data/history/group", history->group);
            expect("/data/history/value", history->value);
            expect("/data/history/now", history->now);
            expect("/data/history/known_at", history->known_at);
            const auto derived = history_names(*history);
            names_.insert(names_.end(), derived.begin(), derived.end());
        }
        for (std::size_t i = 0; i < data.log.size(); ++i) {
            if (!data.log[i].ends_with('*')) {
                expect(fmt::format("/data/log/{}", i), data.log[i]);
            }
        }
        for (const RecipeClip& clip : data.clip) {
            expect("/data/clip/" + clip.column, clip.column);
        }
        expect_all("/report_by", recipe_.report_by);
        for (const json& column : columns_) {
            const auto name = column.at("name").get<std::string>();
            if (name == data.target) {
                check_target(column);
            } else if (is_input(name)) {
                check_input(name, column);
            }
        }
        return std::move(check_);
    }

private:
    void problem(const std::string& pointer, std::string message, std::string nearest = {}) {
        const auto place = places_.find(pointer);
        Error error{ErrorCode::invalid_argument,
                    std::move(message),
                    place == places_.end() ? pointer : place->second + ": " + pointer};
        error.nearest = std::move(nearest);
        check_.problems.push_back(std::move(error));
    }

    void expect(const std::string& pointer, const std::string& name) {
        if (!name.empty() && std::ranges::find(names_, name) == names_.end()) {
            problem(pointer, fmt::format("the data has no column \"{}\"", name), nearest_of(name, names_));
        }
    }
    void expect_all(const std::string& pointer, const std::vector<std::string>& names) {
        for (std::size_t i = 0; i < names.size(); ++i) {
            expect(fmt::format("{}/{}", pointer, i), names[i]);
        }
    }

    [[nodiscard]] bool is_in(const std::vector<std::string>& names, const std::string& name) const {
        return std::ranges::find(names, name) != names.end();
    }
    [[nodiscard]] bool is_input(const std::string& name) const {
        const auto& history = recipe_.data.history;
        const auto& windows = recipe_.data.windows;
        return !is_in(recipe_.data.exclude, name) && !(windows && name == windows->series) &&
               !(history && (name == history->group || name == history->known_at || name == history->value));
    }

    void check_target(const json& column) {
        const bool numbers = column.at("kind") == "number";
        if (column.at("kind") == "empty") {
            problem("/data/target", "the target has no value in any row");
        } else if (task_of(recipe_) == TaskKind::regression && !numbers) {
            problem("/data/target", fmt::format("the loss needs numbers; {}", text_of(column)));
        } else if (task_of(recipe_) != TaskKind::regression && column.at("categories").is_null()) {
            problem("/data/target", "the loss needs classes, but there are too many different values");
        } else if (task_of(recipe_) == TaskKind::binary && column.at("categories") != 2) {
            problem("/loss",
                    fmt::format("binary_cross_entropy needs two classes, the target has {}; use cross_entropy",
                                column.at("categories").dump()));
        } else if (is_constant(column)) {
            problem("/data/target", "the target is always the same: there is nothing to learn");
        }
        if (column.at("missing") > 0 && !recipe_.data.windows) {
            problem("/data/target", fmt::format("the target has no value in {} rows", column.at("missing").dump()));
        }
    }

    void check_input(const std::string& name, const json& column) {
        const bool category = is_in(recipe_.data.categorical, name) || column.at("kind") == "text";
        if (column.at("kind") == "empty") {
            return problem("/data/exclude", fmt::format("\"{}\" has no value in any row; exclude it", name));
        }
        if (column.at("kind") == "mixed" && !is_in(recipe_.data.categorical, name)) {
            return problem("/data/exclude",
                           fmt::format("\"{}\" mixes numbers and text; {}; exclude it, or list it under categorical",
                                       name,
                                       text_of(column)));
        }
        if (category && column.at("categories").is_null()) {
            return problem("/data/exclude",
                           fmt::format("\"{}\" has too many different texts; exclude it: names teach nothing", name));
        }
        if (category && column.at("categories") > many_categories) {
            warn(fmt::format("\"{}\" has {} categories: as many inputs", name, column.at("categories").dump()));
        }
        if (is_constant(column) && column.at("missing") == 0) {
            warn(fmt::format("\"{}\" is always the same: it teaches nothing", name));
        }
        if (leaks(column)) {
            warn(
                fmt::format("\"{}\" gives the target away (correlation {:.6f}): is it known when a prediction is made?",
                            name,
                            column.at("correlation").get<double>()));
        }
    }

    static std::string text_of(const json& column) {
        return column.contains("first_text") ? "text at " + column.at("first_text").get<std::string>()
                                             : "it holds " + column.at("kind").get<std::string>();
    }
    void warn(std::string sentence) { check_.warnings.push_back(std::move(sentence)); }

    const Recipe& recipe_;
    const wire::Places& places_;
    std::vector<std::string> names_;
    std::vector<json> columns_;
    DataCheck check_;
};

} // namespace

bool leaks(const json& column) {
    constexpr double all_but_rounding = 0.999999;
    return std::abs(column.value("correlation", 0.0)) > all_but_rounding;
}

bool is_constant(const json& column) {
    return column.at("kind") == "number" ? column.at("min") == column.at("max") : column.at("categories") == 1;
}

DataCheck check_against_data(const Recipe& recipe, const json& inspection, const wire::Places& places) {
    return Checker{recipe, inspection, places}.run();
}

} // namespace muster::app
