/// muster model export: a model as a file, in one of several formats.
#include "app/muster/exit_code.h"
#include "app/muster/export_model.h"
#include "app/muster/verbs.h"
#include "app/muster/with_client.h"
#include "base/digest.h"
#include "base/file_replacement.h"

#include <map>
#include <memory>

namespace muster::app {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

enum class ModelFormat { torchscript, safetensors, onnx };

struct Options {
    std::string model{};
    ModelFormat format{ModelFormat::torchscript};
    std::string out{};
    std::string python{"python3"};
    std::vector<std::string> allow_missing{};
};

/// A downloaded archive, or one that was here.
struct Archive {
    fs::path file;
    std::string dn{}; ///< of its model; empty: it was here
};

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

/// Fetches the archive of `name` into `file` and checks its digest. Returns the model's DN.
Result<std::string> download(Client& client, const std::string& name, const fs::path& file) {
    auto dn = find_model(client, name);
    if (!dn) {
        return dn;
    }
    auto artefact = client.vendor_data(*dn, "artefact");
    if (!artefact) {
        return std::move(artefact).error();
    }
    if (!artefact->is_object()) {
        return Error{ErrorCode::not_found, *dn + " is not published: its training has not finished"};
    }
    const std::string wanted = artefact->value("sha256", "");
    if (auto got = client.download("/muster/v1/blobs/" + wanted, file); !got) {
        return std::move(got).error();
    }
    auto digest = sha256_file(file);
    if (!digest || *digest != wanted) {
        return Error{ErrorCode::unavailable, "what came does not have the digest of the model; the download is broken"};
    }
    return dn;
}

/// Whether MODEL is a file and no name at the producer: no id and no DN has a slash.
bool names_file(const std::string& model) {
    return model.find('/') != std::string::npos || model.ends_with(".pt") || fs::is_regular_file(model);
}

fs::path out_of(const Options& options) {
    if (!options.out.empty()) {
        return options.out;
    }
    switch (options.format) {
    case ModelFormat::torchscript:
        return "model.pt";
    case ModelFormat::safetensors:
        return "model.safetensors";
    case ModelFormat::onnx:
        return "model.onnx";
    }
    return "model";
}

int print_written(const Context& context, const Archive& archive, const fs::path& out, const std::string& load_it) {
    auto digest = sha256_file(out);
    if (!digest) {
        return report(digest.error());
    }
    const bool was_here = archive.dn.empty();
    const std::string source = was_here ? archive.file.string() : archive.dn;
    print(context.format,
          {{was_here ? "archive" : "dn", source}, {"path", out.string()}, {"sha256", *digest}},
          {{},
           {{was_here ? "archive" : "model", source},
            {"file", out.string()},
            {"sha256", *digest},
            {"load it", load_it}}});
    return exit_done;
}

/// The weights go through a file beside `out`, which is gone afterwards.
int convert_to_onnx(const Context& context, const Options& options, const Archive& archive) {
    const fs::path out = out_of(options);
    auto weights = FileReplacement::open(out);
    if (!weights) {
        return report(weights.error());
    }
    if (auto written = export_safetensors(archive.file, weights->temporary(), options.allow_missing); !written) {
        return report(written.error());
    }
    if (auto made = export_onnx(weights->temporary(), out, options.python); !made) {
        return report(made.error());
    }
    return print_written(context, archive, out, "onnxruntime.InferenceSession(\"" + out.string() + "\")");
}

/// Writes the archive in the wanted format, another than its own.
int convert(const Context& context, const Options& options, const Archive& archive) {
    if (options.format == ModelFormat::onnx) {
        return convert_to_onnx(context, options, archive);
    }
    const fs::path out = out_of(options);
    if (auto written = export_safetensors(archive.file, out, options.allow_missing); !written) {
        return report(written.error());
    }
    return print_written(context, archive, out, "safetensors.torch.load_file(\"" + out.string() + "\")");
}

int export_model(const Context& context, const Options& options) {
    if (options.format != ModelFormat::torchscript && names_file(options.model)) {
        return convert(context, options, {options.model});
    }
    return with_client(context, [&](Client& client) -> int {
        const fs::path out = out_of(options);
        auto archive = FileReplacement::open(out);
        if (!archive) {
            return report(archive.error());
        }
        const auto dn = download(client, options.model, archive->temporary());
        if (!dn) {
            return report(dn.error());
        }
        if (options.format != ModelFormat::torchscript) {
            return convert(context, options, {archive->temporary(), *dn});
        }
        if (auto complete = archive->commit(); !complete) {
            return report(complete.error());
        }
        return print_written(context, {out, *dn}, out, "torch.jit.load(\"" + out.string() + "\")");
    });
}

} // namespace

void add_model_export(Context& context, CLI::App& model) {
    auto options = std::make_shared<Options>();
    CLI::App* verb = model.add_subcommand("export",
                                          "write a model to a file: the archive as it was trained, its digest checked, "
                                          "or another format (docs/export.md)\n"
                                          "Example: muster model export t1 --out model.pt\n"
                                          "         muster model export t1 --format onnx\n"
                                          "         muster model export model.pt --format safetensors");
    verb->add_option(
            "model",
            options->model,
            "id or DN of a model, or id of the request that made it; for other formats than torchscript also an "
            "archive that is here already")
        ->required();
    verb->add_option(
            "--format",
            options->format,
            "torchscript: the archive, which torch.jit.load runs; safetensors: the weights; onnx: the whole for "
            "other runtimes, made by Python")
        ->transform(
            CLI::CheckedTransformer(std::map<std::string, ModelFormat>{{"torchscript", ModelFormat::torchscript},
                                                                       {"safetensors", ModelFormat::safetensors},
                                                                       {"onnx", ModelFormat::onnx}}))
        ->option_text("torchscript|safetensors|onnx [torchscript]");
    verb->add_option("--out", options->out, "file to write")
        ->option_text("FILE [model.pt, model.safetensors or model.onnx]");
    verb->add_option("--python", options->python, "for onnx: Python 3 with the package onnx")
        ->option_text("PROGRAM [python3]");
    verb->add_option("--allow-missing-isolation",
                     options->allow_missing,
                     "parts of the sandbox to do without where the kernel lacks them: landlock, seccomp")
        ->delimiter(',');
    verb->callback(
        [&context, options] { context.action = [&context, options] { return export_model(context, *options); }; });
}

} // namespace muster::app
