#include "worker/archive.h"

#include "worker/archive_history.h"
#include "worker/tree_problem.h"

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/jit/serialization/export.h>
#include <unistd.h>

#include <cerrno>
#include <limits>
#include <string>
#include <system_error>
#include <vector>

namespace muster::worker {
namespace {

// The exported module. What differs between models are attributes. Number types are c10::ScalarType numbers, 4 int64, 6
// float32 and 7 float64: their names exist in Python only.
constexpr const char* encode_source = R"(
def encode(self, numbers: Tensor, categories: List[List[str]]) -> Tensor:
    rows = numbers.size(0)
    values = numbers.to(7)
    missing = torch.isnan(values)
    values = torch.minimum(torch.maximum(values, self.low), self.high)
    values = torch.where(self.logged, torch.sign(values) * torch.log1p(values.abs()), values)
    values = (torch.where(missing, self.fill, values) - self.mean) / self.scale
    encoded = torch.zeros([rows, self.columns], dtype=7)
    encoded.index_copy_(1, self.number_columns, values)
    turns = numbers.to(7).index_select(1, self.dates).unsqueeze(2) / self.date_periods
    angles = (turns - turns.floor()) * 6.283185307179586
    waves = torch.stack([angles.sin(), angles.cos()], 3).flatten(1)
    encoded.index_copy_(1, self.date_columns, torch.nan_to_num(waves))
    encoded.index_copy_(1, self.flag_columns, missing.to(7).index_select(1, self.flagged))
    if len(self.category_names) > 0:
        assert len(categories) == rows, "categories must have one list for each row"
        row_index: List[int] = []
        column_index: List[int] = []
        for i in range(rows):
            assert len(categories[i]) == len(self.category_names), "each row needs one text for each category input"
            for j in range(len(self.category_names)):
                value = categories[i][j]
                column = -1
                if len(value) == 0:
                    column = self.category_flag_columns[j]
                elif value in self.category_columns[j]:
                    column = self.category_columns[j][value]
                else:
                    column = self.category_bucket_columns[j]
                if column >= 0:
                    row_index.append(i)
                    column_index.append(column)
        encoded[torch.tensor(row_index, dtype=4), torch.tensor(column_index, dtype=4)] = 1.0
    return encoded.to(6)
)";

/// As boosted trees read them: one column for each category input, and nothing is scaled or filled in.
constexpr const char* encode_raw_source = R"(
def encode(self, numbers: Tensor, categories: List[List[str]]) -> Tensor:
    rows = numbers.size(0)
    values = numbers.to(7)
    values = torch.minimum(torch.maximum(values, self.low), self.high)
    values = torch.where(self.logged, torch.sign(values) * torch.log1p(values.abs()), values)
    encoded = torch.full([rows, self.columns], float("nan"), dtype=7)
    encoded.index_copy_(1, self.number_columns, values)
    turns = numbers.to(7).index_select(1, self.dates).unsqueeze(2) / self.date_periods
    encoded.index_copy_(1, self.date_columns, (turns - turns.floor()).flatten(1))
    if len(self.category_names) > 0:
        assert len(categories) == rows, "categories must have one list for each row"
        row_index: List[int] = []
        column_index: List[int] = []
        positions: List[int] = []
        for i in range(rows):
            assert len(categories[i]) == len(self.category_names), "each row needs one text for each category input"
            for j in range(len(self.category_names)):
                value = categories[i][j]
                position = -1
                if value in self.category_columns[j]:
                    position = self.category_columns[j][value]
                elif len(value) > 0:
                    position = self.category_bucket_columns[j]
                if position >= 0:
                    row_index.append(i)
                    column_index.append(self.category_positions[j])
                    positions.append(position)
        encoded[torch.tensor(row_index, dtype=4), torch.tensor(column_index, dtype=4)] = torch.tensor(positions, dtype=7)
    return encoded.to(6)
)";

constexpr const char* text_forward_source = R"(
def forward(self, tokens: Tensor) -> Tensor:
    assert tokens.dim() == 2 and 0 < tokens.size(1) and tokens.size(1) <= self.sequence, "tokens must be [rows, 1 to sequence]"
    return torch.log_softmax(self.body.forward(tokens).to(7), 2)
)";

/// One output for each window of consecutive rows; in pieces, as windows take `window` times the memory of their rows.
constexpr const char* windows_source = R"(
def outputs_of(self, encoded: Tensor) -> Tensor:
    assert encoded.size(0) >= self.window, "a window has more rows than there are"
    windows = encoded.unfold(0, self.window, 1).transpose(1, 2)
    pieces: List[Tensor] = []
    for begin in range(0, windows.size(0), 256):
        pieces.append(self.body.forward(windows[begin:begin + 256].contiguous()))
    return torch.cat(pieces)
)";

constexpr const char* rows_source = R"(
def outputs_of(self, encoded: Tensor) -> Tensor:
    return self.body.forward(encoded)
)";

std::string forward_source(const Recipe& recipe, const Preprocessing& preprocessing) {
    if (has_trees(recipe)) {
        return "def forward(self, numbers: Tensor, categories: List[List[str]]) -> Tensor:\n"
               "    return self.outputs_of(self.encode(self.derive(numbers, categories), categories)).to(7)\n";
    }
    std::string source = "def forward(self, numbers: Tensor, categories: List[List[str]]) -> Tensor:\n"
                         "    outputs = self.outputs_of(self.encode(self.derive(numbers, categories), categories)";
    source += recipe.number_type == NumberType::fp64 ? ".to(7)" : "";
    source += ").to(7)\n";
    if (task_of(recipe) == TaskKind::regression) {
        return source + "    return outputs * self.target_scale + self.target_mean\n";
    }
    return source + (preprocessing.outputs() == 1 ? "    return torch.sigmoid(outputs)\n"
                                                  : "    return torch.softmax(outputs, 1)\n");
}

void attribute(torch::jit::Module& module, const char* name, const std::vector<std::string>& texts) {
    c10::List<std::string> list;
    for (const std::string& text : texts) {
        list.push_back(text);
    }
    module.register_attribute(name, c10::ListType::ofStrings(), std::move(list));
}

void attribute(torch::jit::Module& module, const char* name, const std::string& text) {
    module.register_attribute(name, c10::StringType::get(), text);
}

constexpr double no_limit = std::numeric_limits<double>::infinity();

/// Registers what encode() needs: where each input goes in an encoded row.
void register_encoding(torch::jit::Module& module, const Preprocessing& preprocessing) {
    std::vector<std::string> number_names;
    std::vector<std::string> category_names;
    std::vector<std::string> input_names;
    std::vector<double> low;
    std::vector<double> high;
    std::vector<double> logged;
    std::vector<double> fill;
    std::vector<double> mean;
    std::vector<double> scale;
    std::vector<std::int64_t> number_columns;
    std::vector<std::int64_t> flag_columns;
    std::vector<std::int64_t> flagged;
    std::vector<std::int64_t> dates;
    std::vector<std::int64_t> wave_columns;
    std::vector<std::string> date_names;
    c10::List<c10::Dict<std::string, std::int64_t>> category_columns;
    c10::List<std::int64_t> category_flag_columns;
    c10::List<std::int64_t> category_bucket_columns;
    c10::List<std::int64_t> category_positions; // where the columns of each begin
    c10::List<c10::List<std::string>> categories;
    std::int64_t column = 0;
    for (const InputColumn& input : preprocessing.inputs) {
        input_names.push_back(input.name);
        if (input.kind == ColumnKind::number || input.kind == ColumnKind::date) {
            const bool date = input.kind == ColumnKind::date;
            if (input.missing_flag) {
                flagged.push_back(static_cast<std::int64_t>(number_names.size()));
                flag_columns.push_back(column + encoded_columns(input) - 1);
            }
            if (date) { // its seconds stand where the first of its waves then goes
                dates.push_back(static_cast<std::int64_t>(number_names.size()));
                date_names.push_back(input.name);
            }
            number_names.push_back(input.name);
            low.push_back(input.transform.low.value_or(-no_limit));
            high.push_back(input.transform.high.value_or(no_limit));
            logged.push_back(input.transform.log ? 1.0 : 0.0);
            fill.push_back(input.fill);
            mean.push_back(input.mean);
            scale.push_back(input.scale);
            number_columns.push_back(column);
            const std::int64_t end = column + encoded_columns(input) - (input.missing_flag ? 1 : 0);
            for (; column < end; ++column) {
                if (date) {
                    wave_columns.push_back(column);
                }
            }
        } else {
            category_names.push_back(input.name);
            c10::Dict<std::string, std::int64_t> columns;
            c10::List<std::string> names;
            category_positions.push_back(column);
            for (const std::string& category : input.categories) {
                const std::int64_t position = std::ssize(names);
                columns.insert(category, input.raw ? position : column + position);
                names.push_back(category);
            }
            const std::int64_t known = std::ssize(input.categories);
            category_bucket_columns.push_back(!input.bucket ? -1 : input.raw ? known : column + known);
            column += input.raw ? 1 : known + (input.bucket ? 1 : 0);
            category_columns.push_back(columns);
            categories.push_back(names);
            category_flag_columns.push_back(input.missing_flag ? column : -1);
        }
        column += input.missing_flag ? 1 : 0;
    }
    module.register_buffer("low", at::tensor(low, at::kDouble));
    module.register_buffer("high", at::tensor(high, at::kDouble));
    module.register_buffer("logged", at::tensor(logged, at::kDouble).to(at::kBool));
    module.register_buffer("fill", at::tensor(fill, at::kDouble));
    module.register_buffer("mean", at::tensor(mean, at::kDouble));
    module.register_buffer("scale", at::tensor(scale, at::kDouble));
    module.register_buffer("number_columns", at::tensor(number_columns, at::kLong));
    module.register_buffer("flag_columns", at::tensor(flag_columns, at::kLong));
    module.register_buffer("dates", at::tensor(dates, at::kLong));
    module.register_buffer("date_columns", at::tensor(wave_columns, at::kLong));
    module.register_buffer("date_periods", at::tensor({seconds_of_day, seconds_of_week}, at::kDouble));
    module.register_buffer("flagged", at::tensor(flagged, at::kLong));
    module.register_attribute("columns", c10::IntType::get(), column);
    module.register_attribute("categories", c10::ListType::create(c10::ListType::ofStrings()), std::move(categories));
    attribute(module, "input_names", input_names);
    attribute(module, "date_names", date_names);
    RawColumns raw{number_names, category_names};
    if (const auto& history = preprocessing.history) {
        raw.numbers.resize(raw.numbers.size() - history_names(*history).size()); // these are derived
        const std::int64_t encoded = std::ssize(raw.numbers);
        raw = with_history(std::move(raw), *history);
        register_history(module, *history, raw, encoded);
    }
    for (std::size_t i = category_names.size(); i < raw.categories.size(); ++i) { // the group: given, not encoded
        category_columns.push_back(c10::Dict<std::string, std::int64_t>{});
        category_flag_columns.push_back(-1);
        category_bucket_columns.push_back(-1);
        category_positions.push_back(-1);
    }
    module.register_attribute("category_columns",
                              c10::ListType::create(c10::DictType::create(c10::StringType::get(), c10::IntType::get())),
                              std::move(category_columns));
    module.register_attribute("category_flag_columns", c10::ListType::ofInts(), std::move(category_flag_columns));
    module.register_attribute("category_bucket_columns", c10::ListType::ofInts(), std::move(category_bucket_columns));
    module.register_attribute("category_positions", c10::ListType::ofInts(), std::move(category_positions));
    attribute(module, "number_names", raw.numbers);
    attribute(module, "category_names", raw.categories);
}

const char* name_of(TaskKind task) {
    switch (task) {
    case TaskKind::regression:
        return "regression";
    case TaskKind::binary:
        return "binary";
    case TaskKind::multiclass:
        return "multiclass";
    case TaskKind::language:
        return "language";
    }
    return "";
}

/// Of rows of a table: they are encoded, and what comes out is put into the target's unit.
void complete_for_tables(torch::jit::Module& archive, const Recipe& recipe, const Preprocessing& preprocessing) {
    register_encoding(archive, preprocessing);
    const TargetColumn& target = preprocessing.target;
    archive.register_attribute("target_mean", c10::FloatType::get(), target.mean);
    archive.register_attribute("target_scale", c10::FloatType::get(), target.scale);
    attribute(archive, "target_categories", target.categories);
    if (const auto& windows = recipe.data.windows) {
        archive.register_attribute("window", c10::IntType::get(), windows->length);
        archive.register_attribute("horizon", c10::IntType::get(), windows->horizon);
        attribute(archive, "time_name", windows->time);
        attribute(archive, "series_name", windows->series);
    }
    archive.define(recipe.data.windows ? windows_source : rows_source);
    archive.define(derive_source(preprocessing.history.has_value()));
    archive.define(has_trees(recipe) ? encode_raw_source : encode_source);
    archive.define(forward_source(recipe, preprocessing));
}

/// Of a text: tokens are numbers of the vocabulary.
void complete_for_text(torch::jit::Module& archive, const Recipe& recipe, const Preprocessing& preprocessing) {
    attribute(archive, "vocabulary", preprocessing.inputs.front().categories);
    attribute(archive, "unit", recipe.data.text->unit == TextUnit::byte ? "byte" : "character");
    archive.register_attribute("sequence", c10::IntType::get(), recipe.data.text->sequence);
    archive.define(text_forward_source);
}

} // namespace

torch::jit::Module tree_inputs_module(const Recipe& recipe, const Preprocessing& preprocessing) {
    torch::jit::Module rows{"__torch__.muster.Rows"};
    std::vector<std::int64_t> kept;
    for (const SampleColumn& column : columns_of_sample(recipe, preprocessing)) {
        kept.push_back(column.position);
    }
    rows.register_buffer("kept", at::tensor(kept, at::kLong));
    rows.define("def forward(self, rows: Tensor) -> Tensor:\n    return rows.flatten(1).index_select(1, self.kept)\n");
    torch::jit::Module module{"__torch__.muster.TreeInputs"};
    module.register_module("body", rows);
    attribute(module, "target_name", preprocessing.target.name);
    attribute(module, "task", name_of(task_of(recipe)));
    complete_for_tables(module, recipe, preprocessing);
    module.eval();
    return module;
}

void write_archive(const torch::jit::Module& body,
                   const Recipe& recipe,
                   const Preprocessing& preprocessing,
                   int fd,
                   const std::function<void(const void*, std::size_t)>& written) {
    torch::jit::Module archive{"__torch__.muster.Model"};
    archive.register_module("body", body);
    attribute(archive, "target_name", preprocessing.target.name);
    attribute(archive, "task", name_of(task_of(recipe)));
    attribute(archive, "recipe", recipe.name + "@" + recipe.digest);
    if (preprocessing.reads_text()) {
        complete_for_text(archive, recipe, preprocessing);
    } else {
        complete_for_tables(archive, recipe, preprocessing);
    }
    archive.eval();
    const auto write = [fd, &written](const void* data, std::size_t size) {
        const auto* bytes = static_cast<const char*>(data);
        for (std::size_t done = 0; done < size;) {
            const ssize_t count = ::write(fd, bytes + done, size - done);
            if (count < 0 && errno != EINTR) {
                throw std::system_error{errno, std::generic_category(), "write the model archive"};
            }
            done += count > 0 ? static_cast<std::size_t>(count) : 0;
        }
        if (written) {
            written(data, size);
        }
        return size;
    };
    torch::jit::ExportModule(archive, write);
}

} // namespace muster::worker
