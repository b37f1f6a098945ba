#include "wire/recipe_data.h"

#include "wire/recipe.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

namespace muster::wire {
namespace {

const Names<TextUnit>& unit_names() {
    static const Names<TextUnit> names{{"byte", TextUnit::byte}, {"character", TextUnit::character}};
    return names;
}

const Names<char>& delimiter_names() {
    static const Names<char> names{{",", ','}, {";", ';'}, {"tab", '\t'}, {"|", '|'}};
    return names;
}

const Names<char>& decimal_names() {
    static const Names<char> names{{".", '.'}, {",", ','}};
    return names;
}

const Names<CsvEncoding>& encoding_names() {
    static const Names<CsvEncoding> names{{"utf-8", CsvEncoding::utf8}, {"latin-1", CsvEncoding::latin1}};
    return names;
}

const Names<ValidationKind>& validation_names() {
    static const Names<ValidationKind> names{{"random", ValidationKind::random}, {"end", ValidationKind::end}};
    return names;
}

const Names<LayoutKind>& layout_names() {
    static const Names<LayoutKind> names{
        {"auto", LayoutKind::automatic}, {"whole", LayoutKind::whole}, {"pinned", LayoutKind::pinned}};
    return names;
}

RecipeText text_of(Fields fields, Fields& parent) {
    RecipeText text;
    text.unit = fields.choice<TextUnit>("unit", unit_names(), text.unit);
    text.sequence = fields.integer("sequence", 2, 65'536, text.sequence);
    parent.absorb(std::move(fields));
    return text;
}

RecipeWindows windows_of(Fields fields, Fields& parent) {
    RecipeWindows windows;
    windows.length = fields.integer("length", 2, 65'536, windows.length);
    windows.horizon = fields.integer("horizon", 1, 1'000'000, windows.horizon);
    windows.time = fields.text("time", "");
    windows.series = fields.text("series", "");
    windows.lags = fields.integers("lags", 0, windows.length - 1, {});
    if (!windows.lags.empty() &&
        (windows.lags.front() != 0 ||
         std::ranges::adjacent_find(windows.lags, std::greater_equal{}) != windows.lags.end())) {
        fields.fail("lags", "steps before the newest row are expected, ascending from 0, each once");
    }
    parent.absorb(std::move(fields));
    return windows;
}

RecipeCsv csv_of(Fields fields, Fields& parent) {
    RecipeCsv csv;
    if (fields.has("delimiter")) {
        csv.delimiter = fields.choice<char>("delimiter", delimiter_names());
    }
    if (fields.has("decimal")) {
        csv.decimal = fields.choice<char>("decimal", decimal_names());
    }
    csv.encoding = fields.choice<CsvEncoding>("encoding", encoding_names(), csv.encoding);
    if (fields.has("header")) {
        csv.header = fields.boolean("header", true);
    }
    parent.absorb(std::move(fields));
    return csv;
}

const Names<HistoryStatistic>& statistic_names() {
    static const Names<HistoryStatistic> names = [] {
        Names<HistoryStatistic> all;
        for (const auto statistic : {HistoryStatistic::mean,
                                     HistoryStatistic::median,
                                     HistoryStatistic::minimum,
                                     HistoryStatistic::maximum,
                                     HistoryStatistic::deviation}) {
            all.emplace_back(name_of(statistic), statistic);
        }
        return all;
    }();
    return names;
}

RecipeHistory history_of(Fields fields, Fields& parent) {
    RecipeHistory history;
    history.group = fields.text("group", "");
    history.value = fields.text("value");
    history.now = fields.text("now");
    history.known_at = fields.text("known_at", "");
    history.last = fields.integer("last", 0, 1'000, history.last);
    history.window = fields.integer("window", 0, 10'000, history.window);
    for (const std::string& name : fields.texts("statistics")) {
        const auto found = std::ranges::find(statistic_names(), name, &std::pair<std::string, HistoryStatistic>::first);
        if (found == statistic_names().end()) {
            fields.fail("statistics", fmt::format("\"{}\" is none of mean, median, min, max, std", name));
            break;
        }
        history.statistics.push_back(found->second);
    }
    history.outstanding = fields.boolean("outstanding", false);
    history.since_last = fields.boolean("since_last", false);
    parent.absorb(std::move(fields));
    return history;
}

Json to_json(const RecipeHistory& history) {
    Json statistics = Json::array();
    for (const HistoryStatistic statistic : history.statistics) {
        statistics.push_back(name_of(statistic));
    }
    return {{"group", history.group},
            {"value", history.value},
            {"now", history.now},
            {"known_at", history.known_at},
            {"last", history.last},
            {"window", history.window},
            {"statistics", statistics},
            {"outstanding", history.outstanding},
            {"since_last", history.since_last}};
}

std::vector<RecipeClip> clip_of(Fields fields, Fields& parent) {
    std::vector<RecipeClip> clips;
    for (const auto& [column, none] : fields.json().items()) {
        const Json* limits = fields.raw(column);
        if (!limits->is_array() || limits->size() != 2 || !limits->at(0).is_number() || !limits->at(1).is_number() ||
            limits->at(0).get<double>() >= limits->at(1).get<double>()) {
            fields.fail(column, "[low, high] is expected, two numbers, the smaller one first");
            break;
        }
        clips.push_back({column, limits->at(0).get<double>(), limits->at(1).get<double>()});
    }
    parent.absorb(std::move(fields));
    return clips;
}

RecipeCategories categories_of(Fields fields, Fields& parent) {
    RecipeCategories categories;
    categories.at_most = fields.integer("at_most", 0, 1'000'000, categories.at_most);
    categories.min_rows = fields.integer("min_rows", 1, 1'000'000'000, categories.min_rows);
    parent.absorb(std::move(fields));
    return categories;
}

} // namespace

RecipeData data_of(Fields fields, Fields& parent) {
    RecipeData data;
    data.source = fields.text("source");
    data.test = fields.text("test", "");
    if (fields.has("text")) {
        data.text = text_of(fields.child("text"), fields);
        data.target = text_target(data.text->unit);
    } else {
        data.target = fields.text("target");
    }
    if (fields.has("windows")) {
        data.windows = windows_of(fields.child("windows"), fields);
    }
    if (fields.has("history")) {
        data.history = history_of(fields.child("history"), fields);
    }
    if (fields.has("csv") && !data.text) {
        data.csv = csv_of(fields.child("csv"), fields);
    }
    data.exclude = fields.texts("exclude");
    data.categorical = fields.texts("categorical");
    data.log = fields.texts("log");
    data.clip = clip_of(fields.child("clip"), fields);
    data.validation = fields.real("validation", 0.0, 0.9, data.validation);
    data.validation_rows = fields.choice<ValidationKind>("validation_rows", validation_names(), data.validation_rows);
    if (fields.has("categories")) {
        data.categories = categories_of(fields.child("categories"), fields);
    }
    data.layout = fields.choice<LayoutKind>("layout", layout_names(), data.layout);
    parent.absorb(std::move(fields));
    return data;
}

Json to_json(const RecipeData& data) {
    if (data.text) {
        return {{"source", data.source},
                {"test", data.test},
                {"text", {{"unit", name_in(unit_names(), data.text->unit)}, {"sequence", data.text->sequence}}},
                {"validation", data.validation}};
    }
    Json json{{"source", data.source},
              {"test", data.test},
              {"target", data.target},
              {"exclude", data.exclude},
              {"categorical", data.categorical},
              {"validation", data.validation}};
    if (data.csv != RecipeCsv{}) { // else recipes from before it keep their digests
        json["csv"] = wire::to_json(data.csv);
    }
    if (!data.log.empty()) {
        json["log"] = data.log;
    }
    for (const RecipeClip& clip : data.clip) {
        json["clip"][clip.column] = {clip.low, clip.high};
    }
    if (data.history) {
        json["history"] = to_json(*data.history);
    }
    if (data.validation_rows != ValidationKind::random) {
        json["validation_rows"] = name_in(validation_names(), data.validation_rows);
    }
    if (data.categories) {
        json["categories"] = {{"at_most", data.categories->at_most}, {"min_rows", data.categories->min_rows}};
    }
    if (data.layout != LayoutKind::automatic) {
        json["layout"] = name_in(layout_names(), data.layout);
    }
    if (data.windows) {
        json["windows"] = {{"length", data.windows->length},
                           {"horizon", data.windows->horizon},
                           {"time", data.windows->time},
                           {"series", data.windows->series}};
        if (!data.windows->lags.empty()) {
            json["windows"]["lags"] = data.windows->lags;
        }
    }
    return json;
}

Json to_json(const RecipeCsv& csv) {
    Json json{{"encoding", name_in(encoding_names(), csv.encoding)}};
    if (csv.delimiter) {
        json["delimiter"] = name_in(delimiter_names(), *csv.delimiter);
    }
    if (csv.decimal) {
        json["decimal"] = name_in(decimal_names(), *csv.decimal);
    }
    if (csv.header) {
        json["header"] = *csv.header;
    }
    return json;
}

Result<RecipeCsv> csv_from_json(const Json& json) {
    static const Json nothing = Json::object();
    Fields outer{nothing, ""};
    RecipeCsv csv = csv_of(Fields{json, ""}, outer);
    auto done = outer.finish();
    return done ? Result<RecipeCsv>{csv} : std::move(done).error();
}

} // namespace muster::wire
