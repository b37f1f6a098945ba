/// muster model: what came out.
#include "app/muster/exit_code.h"
#include "app/muster/predict.h"
#include "app/muster/verbs.h"
#include "app/muster/with_client.h"

#include <fmt/format.h>

#include <memory>

namespace muster::app {
namespace {

using nlohmann::json;

struct Options {
    std::string name{};
    std::string input{};
    std::vector<std::string> allow_missing{};
};

int list(Context& context) {
    return with_client(context, [&](Client& client) -> int {
        auto objects = client.objects("SubNetwork=1");
        if (!objects) {
            return report(objects.error());
        }
        json models = json::array();
        Table table{{"MODEL", "INFERENCE", "VERSION", "BYTES", "SHA256"}, {}};
        for (const json& object : *objects) {
            if (object.value("objectClass", "") != "MLModel") {
                continue;
            }
            const std::string dn = object.value("objectInstance", "");
            json artefact;
            for (const json& other : *objects) {
                if (other.value("objectInstance", "") == dn + ",VsDataContainer=artefact") {
                    artefact = other["attributes"].value("vsData", json{});
                }
            }
            models.push_back({{"dn", dn}, {"attributes", object["attributes"]}, {"artefact", artefact}});
            table.rows.push_back({object.value("id", ""),
                                  object["attributes"].value("aIMLInferenceName", ""),
                                  object["attributes"].value("mLModelVersion", ""),
                                  artefact.is_object() ? bytes_text(artefact.value("bytes", 0.0)) : "-",
                                  artefact.is_object() ? artefact.value("sha256", "").substr(0, 16) : "not published"});
        }
        print(context.format, models, table);
        return exit_done;
    });
}

int predict(Context& context, const Options& options) {
    auto predictions = predict_file(options.name, options.input, options.allow_missing);
    if (!predictions) {
        return report(predictions.error());
    }
    Table table{{predictions->output}, {}};
    for (const std::vector<double>& row : predictions->rows) {
        std::string cells;
        for (const double value : row) {
            cells += fmt::format("{}{:.6g}", cells.empty() ? "" : ",", value);
        }
        table.rows.push_back({cells});
    }
    print(context.format, {{"output", predictions->output}, {"predictions", predictions->rows}}, table);
    return exit_done;
}

} // namespace

void add_model(Context& context) {
    auto options = std::make_shared<Options>();
    CLI::App* verb = context.app.add_subcommand("model", "what came out");
    verb->require_subcommand(1);
    CLI::App* list_verb = verb->add_subcommand("list", "models of the producer's repository");
    list_verb->callback([&context] { context.action = [&context] { return list(context); }; });
    add_model_export(context, *verb);
    CLI::App* predict_verb = verb->add_subcommand(
        "predict",
        "predict rows of a CSV file with an exported model\nExample: muster model predict model.pt --input new.csv");
    predict_verb->add_option("model", options->name, "model archive")->required();
    predict_verb->add_option("--input", options->input, "CSV file with a header; the model's input columns by name")
        ->required();
    predict_verb
        ->add_option("--allow-missing-isolation",
                     options->allow_missing,
                     "parts of the sandbox to do without where the kernel lacks them: landlock, seccomp")
        ->delimiter(',');
    predict_verb->callback(
        [&context, options] { context.action = [&context, options] { return predict(context, *options); }; });
}

} // namespace muster::app
