#include "model/history.h"

namespace muster {

const char* name_of(HistoryStatistic statistic) {
    switch (statistic) {
    case HistoryStatistic::mean:
        return "mean";
    case HistoryStatistic::median:
        return "median";
    case HistoryStatistic::minimum:
        return "min";
    case HistoryStatistic::maximum:
        return "max";
    case HistoryStatistic::deviation:
        return "std";
    }
    return "";
}

std::vector<std::string> history_names(const RecipeHistory& history) {
    std::vector<std::string> names;
    for (std::int64_t back = 1; back <= history.last; ++back) {
        names.push_back(history.value + "_last_" + std::to_string(back));
    }
    for (const HistoryStatistic statistic : history.statistics) {
        names.push_back(history.value + "_" + name_of(statistic) + "_" + std::to_string(history.window));
    }
    if (history.outstanding) {
        names.push_back(history.value + "_outstanding");
    }
    if (history.since_last) {
        names.push_back(history.value + "_since_last");
    }
    return names;
}

} // namespace muster
