#include "worker/archive_history.h"

#include <algorithm>

namespace muster::worker {
namespace {

/// Rows of a group see the values of the group's rows that were known before their own time. All groups one after the
/// other, each at once: `place` are the positions of a row's newest known values, -1 and below for none.
constexpr const char* history_source = R"(
def derive_group(self, value: Tensor, now: Tensor, known_at: Tensor) -> Tensor:
    seen = torch.logical_not(torch.isnan(value) | torch.isnan(known_at))
    order = torch.argsort(known_at[seen], stable=True)
    times = known_at[seen][order]
    values = torch.cat([torch.full([1], float("nan"), dtype=7), value[seen][order]])
    count = torch.searchsorted(times, now.contiguous())
    begun = torch.searchsorted(now.sort()[0], now.contiguous())
    depth = max(self.history_last, self.history_window)
    place = (count.unsqueeze(1) - torch.arange(depth)).clamp(min=0)
    newest = values[place]
    derived: List[Tensor] = []
    if self.history_last > 0:
        derived.append(newest[:, :self.history_last])
    recent = newest[:, :self.history_window]
    nothing = count == 0
    for statistic in self.history_statistics:
        if statistic == "mean":
            number = recent.nanmean(1)
        elif statistic == "median":
            number = recent.nanquantile(0.5, 1)
        elif statistic == "min":
            number = torch.nan_to_num(recent, nan=float("inf"), posinf=float("inf"), neginf=-float("inf")).amin(1)
        elif statistic == "max":
            number = torch.nan_to_num(recent, nan=-float("inf"), posinf=float("inf"), neginf=-float("inf")).amax(1)
        else:
            number = (recent - recent.nanmean(1, keepdim=True)).square().nanmean(1).sqrt()
        derived.append(number.masked_fill(nothing, float("nan")).unsqueeze(1))
    if self.history_outstanding:
        derived.append((begun - count).to(7).unsqueeze(1))
    if self.history_since_last:
        newest_time = torch.cat([torch.full([1], float("nan"), dtype=7), times])[count]
        derived.append((now - newest_time).unsqueeze(1))
    return torch.cat(derived, 1)

def derive(self, numbers: Tensor, categories: List[List[str]]) -> Tensor:
    assert numbers.dim() == 2 and numbers.size(1) == len(self.number_names), "numbers must be [rows, number inputs]"
    rows = numbers.size(0)
    raw = numbers.to(7)
    groups: Dict[str, List[int]] = {}
    if self.history_group >= 0:
        assert len(categories) == rows, "categories must have one list for each row"
        for i in range(rows):
            name = categories[i][self.history_group]
            if name in groups:
                groups[name].append(i)
            else:
                groups[name] = [i]
    elif rows > 0:
        groups[""] = list(range(rows))
    derived = torch.zeros([rows, len(self.derived_names)], dtype=7)
    for name in groups:
        index = torch.tensor(groups[name])
        value = raw[:, self.history_value][index]
        now = raw[:, self.history_now][index]
        known_at = raw[:, self.history_known_at][index]
        assert not bool(torch.isnan(now).any()), "each row needs a time"
        derived.index_copy_(0, index, self.derive_group(value, now, known_at))
    return torch.cat([raw.narrow(1, 0, self.encoded_numbers), derived], 1)
)";

constexpr const char* plain_source = R"(
def derive(self, numbers: Tensor, categories: List[List[str]]) -> Tensor:
    assert numbers.dim() == 2 and numbers.size(1) == len(self.number_names), "numbers must be [rows, number inputs]"
    return numbers.to(7)
)";

void add(std::vector<std::string>& names, const std::string& name) {
    if (!name.empty() && std::ranges::find(names, name) == names.end()) {
        names.push_back(name);
    }
}

std::int64_t place_of(const std::string& name, const std::vector<std::string>& names) {
    const auto found = std::ranges::find(names, name);
    return found == names.end() ? -1 : found - names.begin();
}

c10::List<std::string> list_of(const std::vector<std::string>& texts) {
    c10::List<std::string> list;
    for (const std::string& text : texts) {
        list.push_back(text);
    }
    return list;
}

} // namespace

RawColumns with_history(RawColumns encoded, const RecipeHistory& history) {
    for (const std::string& name : {history.value, history.now, history.known_at}) {
        add(encoded.numbers, name);
    }
    add(encoded.categories, history.group);
    return encoded;
}

void register_history(torch::jit::Module& archive,
                      const RecipeHistory& history,
                      const RawColumns& raw,
                      std::int64_t encoded_numbers) {
    const std::string& known_at = history.known_at.empty() ? history.now : history.known_at;
    for (const auto& [name, number] : {std::pair{"history_last", history.last},
                                       {"history_window", history.window},
                                       {"history_value", place_of(history.value, raw.numbers)},
                                       {"history_now", place_of(history.now, raw.numbers)},
                                       {"history_known_at", place_of(known_at, raw.numbers)},
                                       {"history_group", place_of(history.group, raw.categories)},
                                       {"encoded_numbers", encoded_numbers}}) {
        archive.register_attribute(name, c10::IntType::get(), number);
    }
    archive.register_attribute("history_outstanding", c10::BoolType::get(), history.outstanding);
    archive.register_attribute("history_since_last", c10::BoolType::get(), history.since_last);
    std::vector<std::string> statistics;
    for (const HistoryStatistic statistic : history.statistics) {
        statistics.emplace_back(name_of(statistic));
    }
    archive.register_attribute("history_statistics", c10::ListType::ofStrings(), list_of(statistics));
    archive.register_attribute("derived_names", c10::ListType::ofStrings(), list_of(history_names(history)));
    archive.register_attribute(
        "history_names", c10::ListType::ofStrings(), list_of({history.group, history.value, history.now, known_at}));
}

const char* derive_source(bool history) {
    return history ? history_source : plain_source;
}

} // namespace muster::worker
