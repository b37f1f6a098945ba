/// muster model: what came out.
#include "app/muster/exit_code.h"
#include "app/muster/predict.h"
#include "app/muster/verbs.h"
#include "app/muster/with_client.h"
#include "base/digest.h"

#include <fmt/format.h>

#include <memory>

namespace muster::app {
namespace {

using nlohmann::json;

struct Options {
    std::string name{};
    std::string out{"model.pt"};
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

/// DN of a model by its id, its DN, or the id of the request that made it.
Result<std::string> find_model(Client& client, const std::string& name) {
    auto objects = client.objects("SubNetwork=1");
    if (!objects) {
        return std::move(objects).error();
    }
    std::vector<std::string> ids;
    for (const json& object : *objects) {
        const std::string dn = object.value("objectInstance", "");
        if (object.value("objectClass", "") == "MLModel") {
            ids.push_back(object.value("id", ""));
            if (dn == name || ids.back() == name) {
                return dn;
            }
        }
        if (object.value("objectClass", "") == "MLTrainingReport" && object.value("id", "") == name) {
            return object["attributes"].value("mLModelGeneratedRef", "");
        }
    }
    Error error{ErrorCode::not_found, "there is no model \"" + name + "\""};
    error.nearest = nearest_of(name, ids);
    return error;
}

int export_model(Context& context, const Options& options) {
    return with_client(context, [&](Client& client) -> int {
        auto dn = find_model(client, options.name);
        if (!dn) {
            return report(dn.error());
        }
        auto artefact = client.vendor_data(*dn, "artefact");
        if (!artefact) {
            return report(artefact.error());
        }
        if (!artefact->is_object()) {
            return report({ErrorCode::not_found, *dn + " is not published: its training has not finished"});
        }
        const std::string wanted = artefact->value("sha256", "");
        if (auto got = client.download("/muster/v1/blobs/" + wanted, options.out); !got) {
            return report(got.error());
        }
        auto digest = sha256_file(options.out);
        if (!digest || *digest != wanted) {
            return report({ErrorCode::unavailable,
                           options.out + " does not have the digest of the model; the download is broken"});
        }
        print(context.format,
              {{"dn", *dn}, {"path", options.out}, {"sha256", wanted}},
              {{},
               {{"model", *dn},
                {"file", options.out},
                {"sha256", wanted},
                {"load it", "torch.jit.load(\"" + options.out + "\")"}}});
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
    CLI::App* export_verb = verb->add_subcommand(
        "export", "download a model archive and check its digest\nExample: muster model export t1 --out model.pt");
    export_verb->add_option("model", options->name, "id or DN of a model, or id of the request that made it")
        ->required();
    export_verb->add_option("--out", options->out, "file to write")->capture_default_str();
    export_verb->callback(
        [&context, options] { context.action = [&context, options] { return export_model(context, *options); }; });
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
