#include "worker/archive_facts.h"

#include "model/preprocessing.h"

#include <ATen/Functions.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <stdexcept>
#include <vector>

namespace muster::worker {
namespace {

using nlohmann::json;

/// Counts up when the meaning of a key changes.
constexpr const char* facts_version = "1";

std::vector<std::string> texts_of(const c10::IValue& list) {
    std::vector<std::string> texts;
    for (const c10::IValue& text : list.toListRef()) {
        texts.push_back(text.toStringRef());
    }
    return texts;
}

/// A list of numbers that the archive keeps as a tensor; they may be infinite.
std::vector<double> limits_of(const torch::jit::Module& archive, const char* name) {
    const at::Tensor wide = archive.attr(name).toTensor().to(at::kDouble).contiguous();
    if (wide.dim() != 1) {
        throw std::invalid_argument{std::string{name} + " is no list of numbers"};
    }
    const auto* first = wide.const_data_ptr<double>();
    return {first, first + wide.numel()};
}

/// A list of finite numbers.
std::vector<double> numbers_of(const torch::jit::Module& archive, const char* name) {
    std::vector<double> numbers = limits_of(archive, name);
    if (!std::ranges::all_of(numbers, [](double number) { return std::isfinite(number); })) {
        throw std::invalid_argument{std::string{name} + " holds a number that is not finite"};
    }
    return numbers;
}

std::size_t index_of(const std::vector<std::string>& names, const std::string& name) {
    const auto found = std::ranges::find(names, name);
    if (found == names.end()) {
        throw std::invalid_argument{"the input \"" + name + "\" is neither number nor category"};
    }
    return static_cast<std::size_t>(found - names.begin());
}

/// The numbers that are encoded: those that the archive is given, or of a history those that it derives.
std::vector<std::string> encoded_numbers_of(const torch::jit::Module& archive) {
    std::vector<std::string> names = texts_of(archive.attr("number_names"));
    if (archive.hasattr("derived_names")) {
        names.resize(static_cast<std::size_t>(std::clamp<std::int64_t>(
            archive.attr("encoded_numbers").toInt(), 0, static_cast<std::int64_t>(names.size()))));
        std::ranges::copy(texts_of(archive.attr("derived_names")), std::back_inserter(names));
    }
    return names;
}

/// Follows the columns of an encoded row, which the archive has on their own: other columns than these would give
/// another model than the archive's.
class EncodedRow {
public:
    explicit EncodedRow(const torch::jit::Module& archive)
        : number_names_{encoded_numbers_of(archive)}, category_names_{texts_of(archive.attr("category_names"))},
          fill_{numbers_of(archive, "fill")}, mean_{numbers_of(archive, "mean")}, scale_{numbers_of(archive, "scale")},
          number_columns_{numbers_of(archive, "number_columns")}, flagged_{numbers_of(archive, "flagged")},
          flag_columns_{numbers_of(archive, "flag_columns")}, archive_{archive} {
        if (archive.hasattr("logged")) { // not in archives from before numbers were transformed
            low_ = limits_of(archive, "low");
            high_ = limits_of(archive, "high");
            logged_ = numbers_of(archive, "logged");
        }
        if (archive.hasattr("dates")) { // not in archives from before dates were inputs
            dates_ = numbers_of(archive, "dates");
            date_columns_ = numbers_of(archive, "date_columns");
        }
    }

    json next(const std::string& name) {
        json input{{"name", name}};
        const bool number = std::ranges::find(number_names_, name) != number_names_.end();
        if (number) {
            add_number(input, index_of(number_names_, name));
        } else {
            add_category(input, index_of(category_names_, name));
        }
        return input;
    }
    void end() const { expect(column_, archive_.attr("columns").toInt(), "columns"); }

private:
    static void expect(std::int64_t column, std::int64_t found, const std::string& what) {
        if (column != found) {
            throw std::invalid_argument{"the columns of an encoded row contradict each other at " + what};
        }
    }
    void add_number(json& input, std::size_t i) {
        expect(column_, static_cast<std::int64_t>(number_columns_.at(i)), input["name"]);
        const auto date = std::ranges::find(dates_, static_cast<double>(i));
        if (date == dates_.end()) {
            input.update({{"kind", "number"}, {"fill", fill_.at(i)}, {"mean", mean_.at(i)}, {"scale", scale_.at(i)}});
            add_transform(input, i);
            ++column_;
        } else {
            input["kind"] = "date";
            const std::size_t first = static_cast<std::size_t>(date - dates_.begin()) * date_columns;
            for (std::size_t wave = first; wave < first + date_columns; ++wave) {
                expect(column_++, static_cast<std::int64_t>(date_columns_.at(wave)), input["name"]);
            }
        }
        const auto flag = std::ranges::find(flagged_, static_cast<double>(i));
        input["missing_flag"] = flag != flagged_.end();
        if (flag != flagged_.end()) {
            const auto place = static_cast<std::size_t>(flag - flagged_.begin());
            expect(column_++, static_cast<std::int64_t>(flag_columns_.at(place)), input["name"]);
        }
    }
    void add_transform(json& input, std::size_t i) const {
        if (logged_.empty()) {
            return;
        }
        if (std::isfinite(low_.at(i)) && std::isfinite(high_.at(i))) {
            input["clip"] = {low_.at(i), high_.at(i)};
        }
        if (logged_.at(i) != 0.0) {
            input["log"] = true;
        }
    }
    void add_category(json& input, std::size_t i) {
        const auto columns = archive_.attr("category_columns").toList().get(i).toGenericDict();
        const std::vector<std::string> categories = texts_of(archive_.attr("categories").toList().get(i));
        for (const std::string& category : categories) {
            expect(column_++, columns.at(category).toInt(), input["name"]);
        }
        const std::int64_t bucket = archive_.hasattr("category_bucket_columns")
                                        ? archive_.attr("category_bucket_columns").toList().get(i).toInt()
                                        : -1; // not in archives of 0.1 and before
        if (bucket >= 0) {
            expect(column_++, bucket, input["name"]);
            input["bucket"] = true;
        }
        const std::int64_t flag = archive_.attr("category_flag_columns").toList().get(i).toInt();
        input.update({{"kind", "category"}, {"categories", categories}, {"missing_flag", flag >= 0}});
        if (flag >= 0) {
            expect(column_++, flag, input["name"]);
        }
    }

    std::vector<std::string> number_names_;
    std::vector<std::string> category_names_;
    std::vector<double> low_;
    std::vector<double> high_;
    std::vector<double> logged_;
    std::vector<double> fill_;
    std::vector<double> mean_;
    std::vector<double> scale_;
    std::vector<double> number_columns_;
    std::vector<double> flagged_;
    std::vector<double> flag_columns_;
    std::vector<double> dates_;        ///< which of the number inputs are dates
    std::vector<double> date_columns_; ///< four of each
    const torch::jit::Module& archive_;
    std::int64_t column_{0};
};

json preprocessing_of_table(const torch::jit::Module& archive) {
    json inputs = json::array();
    EncodedRow row{archive};
    for (const std::string& name : texts_of(archive.attr("input_names"))) {
        inputs.push_back(row.next(name));
    }
    row.end();
    const double mean = archive.attr("target_mean").toDouble();
    const double scale = archive.attr("target_scale").toDouble();
    if (!std::isfinite(mean) || !std::isfinite(scale)) {
        throw std::invalid_argument{"the target's unit is not finite"};
    }
    json preprocessing{{"inputs", inputs},
                       {"target",
                        {{"name", archive.attr("target_name").toStringRef()},
                         {"mean", mean},
                         {"scale", scale},
                         {"categories", texts_of(archive.attr("target_categories"))}}}};
    if (archive.hasattr("window")) {
        preprocessing["windows"] = {{"length", archive.attr("window").toInt()},
                                    {"horizon", archive.attr("horizon").toInt()},
                                    {"time", archive.attr("time_name").toStringRef()},
                                    {"series", archive.attr("series_name").toStringRef()}};
    }
    return preprocessing;
}

json preprocessing_of_text(const torch::jit::Module& archive) {
    return {{"text",
             {{"unit", archive.attr("unit").toStringRef()},
              {"sequence", archive.attr("sequence").toInt()},
              {"vocabulary", texts_of(archive.attr("vocabulary"))}}},
            {"target", {{"name", archive.attr("target_name").toStringRef()}}}};
}

/// "__torch__.muster.Mlp" is of the family mlp; what is not ours was a user's.
std::string family_of(const torch::jit::Module& body) {
    if (!body.type()->name()->qualifiedName().starts_with("__torch__.muster.")) {
        return "torchscript";
    }
    std::string family = body.type()->name()->name();
    std::ranges::transform(
        family, family.begin(), [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
    return family;
}

/// Whole numbers that the modules of the network keep beside their weights, such as a block's number of heads.
json settings_of(const torch::jit::Module& body) {
    json settings = json::object();
    for (const auto& part : body.named_modules()) {
        for (const auto& attribute : part.value.named_attributes(false)) {
            if (attribute.value.isInt()) {
                settings[part.name + (part.name.empty() ? "" : ".") + attribute.name] = attribute.value.toInt();
            }
        }
    }
    return settings;
}

} // namespace

std::map<std::string, std::string> archive_facts(const torch::jit::Module& archive) {
    const torch::jit::Module body = archive.attr("body").toModule();
    const std::string& task = archive.attr("task").toStringRef();
    const json preprocessing = task == "language" ? preprocessing_of_text(archive) : preprocessing_of_table(archive);
    return {{"format", "pt"}, // what libraries of the format look for: tensors as PyTorch lays them out
            {"muster", facts_version},
            {"recipe", archive.attr("recipe").toStringRef()},
            {"task", task},
            {"family", family_of(body)},
            {"settings", settings_of(body).dump()},
            {"preprocessing", preprocessing.dump()}};
}

} // namespace muster::worker
