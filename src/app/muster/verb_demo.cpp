/// muster demo: the main job in one go, on real data.
#include "app/muster/demo_site.h"
#include "app/muster/exit_code.h"
#include "app/muster/follow.h"
#include "app/muster/interrupt.h"
#include "app/muster/plan_table.h"
#include "app/muster/programs.h"
#include "app/muster/request_file.h"
#include "app/muster/verbs.h"
#include "base/digest.h"
#include "base/id.h"
#include "nrm/dn.h"
#include "wire/document.h"
#include "wire/recipe.h"

#include <fmt/format.h>

#include <memory>
#include <numeric>

namespace muster::app {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct Options {
    std::vector<double> cpu{100.0, 50.0, 25.0};
    std::string keep{};
    double timeout_seconds{600.0};
};

/// A folder that is removed at the end unless it is to be kept.
class DemoFolder {
public:
    explicit DemoFolder(const std::string& keep)
        : path_{keep.empty() ? fs::temp_directory_path() / ("muster-demo-" + random_hex(4)) : fs::absolute(keep)},
          keep_{!keep.empty()} {
        fs::create_directories(path_);
    }
    ~DemoFolder() {
        std::error_code ignored;
        if (!keep_) {
            fs::remove_all(path_, ignored);
        }
    }
    DemoFolder(const DemoFolder&) = delete;
    DemoFolder& operator=(const DemoFolder&) = delete;
    [[nodiscard]] const fs::path& path() const { return path_; }
    [[nodiscard]] bool kept() const { return keep_; }

private:
    fs::path path_;
    bool keep_;
};

Result<std::string> submit_example(Client& client, const fs::path& example) {
    auto document = wire::read_document(example / "ue-delay.yaml");
    if (!document) {
        return std::move(document).error();
    }
    auto recipe = wire::recipe_from_json(document->value, &document->places);
    if (!recipe) {
        return std::move(recipe).error();
    }
    if (auto added = client.call("POST", "/muster/v1/recipes", wire::to_json(*recipe)); !added) {
        return std::move(added).error().within("adding the recipe");
    }
    auto attributes = read_request((example / "ue-delay.request.yaml").string());
    if (!attributes) {
        return std::move(attributes).error();
    }
    const std::string dn = fmt::format("{},MLTrainingRequest=demo", default_function);
    auto created = client.call(
        "PUT", path_of(dn), json{{"id", "demo"}, {"objectClass", "MLTrainingRequest"}, {"attributes", *attributes}});
    if (!created) {
        return std::move(created).error().within("submitting the request");
    }
    return dn;
}

/// Tells the story of the job on stderr as it unfolds.
class Story {
public:
    void tell(const JobView& view) {
        if (!planned_ && view.decision.is_object() && view.decision.value("plan", json{}).is_object()) {
            planned_ = true;
            printer_.finish();
            say("\n==> the decision");
            say(to_text(plan_table(view.decision["plan"])) + plan_words(view.decision["plan"]));
        }
        if (!agreed_ && view.agreement.is_object()) {
            agreed_ = true;
            printer_.finish();
            say(fmt::format("\n==> the agreement (plan digest {})",
                            view.agreement.value("plan_digest", "").substr(0, 16)));
            for (const json& signature : view.agreement.value("signatures", json::array())) {
                say(fmt::format(" {:<10} signed {}...",
                                nrm::short_name(signature.value("dn", "")),
                                signature.value("signature", "").substr(0, 24)));
            }
            say("\n==> training over mutual TLS 1.3");
        }
        printer_.show(view);
    }
    void end() { printer_.finish(); }

private:
    ProgressPrinter printer_;
    bool planned_{false};
    bool agreed_{false};
};

Result<fs::path> fetch_model(Client& client, const JobView& view, const DemoFolder& folder) {
    const std::string sha256 = view.artefact.value("sha256", "");
    // The folder of the demo goes away; the model is what it was made for.
    const fs::path file = folder.kept() ? folder.path() / "model.pt" : fs::absolute("muster-demo-model.pt");
    if (auto got = client.download("/muster/v1/blobs/" + sha256, file); !got) {
        return std::move(got).error();
    }
    auto digest = sha256_file(file);
    if (!digest || *digest != sha256) {
        return Error{ErrorCode::unavailable, "the downloaded model does not have its digest"};
    }
    return file;
}

int finish(Context& context, DemoSite& site, const JobView& view, const DemoFolder& folder) {
    if (view.status() != "FINISHED") {
        say(fmt::format("the job ended without a model: {} {}", view.status(), view.words()));
        if (context.format != Format::table) {
            print(context.format, report_json(view), {});
        }
        return exit_no_model;
    }
    auto file = fetch_model(site.client(), view, folder);
    if (!file) {
        return report(file.error());
    }
    if (context.format != Format::table) {
        json result = report_json(view);
        result["model"]["path"] = file->string();
        print(context.format, result, {});
        return exit_done;
    }
    say("\n==> the report");
    fmt::print("{}", report_text(view));
    fmt::print(
        "         in {}; plain PyTorch loads it: torch.jit.load(\"{}\")\n", file->string(), file->filename().string());
    return exit_done;
}

int demo(Context& context, const Options& options) {
    catch_interrupts();
    auto example = example_folder("ue-delay");
    if (!example) {
        return report(example.error());
    }
    for (const char* name : {"muster-worker", "muster-data"}) {
        if (auto program = sibling(name); !program) {
            return report(program.error());
        }
    }
    const DemoFolder folder{options.keep};
    std::vector<double> cores;
    for (const double percent : options.cpu) {
        cores.push_back(percent / 100.0);
    }
    say(fmt::format("==> a CA, a producer and {} training functions start on this machine ({})",
                    cores.size(),
                    folder.path().string()));
    auto site = DemoSite::start({folder.path(), *example, cores}, interrupted);
    if (!site) {
        return interrupted() ? exit_timeout : report(site.error());
    }
    say("==> a request to learn 5G end-to-end delay from real measurements (MAE 3.0 ms or better) is submitted");
    auto dn = submit_example(site->client(), *example);
    if (!dn) {
        return report(dn.error());
    }
    Story story;
    const auto timeout = std::chrono::duration_cast<Duration>(std::chrono::duration<double>{options.timeout_seconds});
    auto view = follow(
        site->client(), *dn, Deadline::after(timeout), [&](const JobView& seen) { story.tell(seen); }, interrupted);
    story.end();
    if (!view) {
        say(interrupted() ? "interrupted: everything that the demo started is being ended" : "");
        return interrupted() ? exit_timeout : report(view.error());
    }
    const int code = finish(context, *site, *view, folder);
    if (folder.kept()) {
        say(fmt::format("kept: {} (logs, configuration, client.yaml)", folder.path().string()));
    }
    return code;
}

} // namespace

void add_demo(Context& context) {
    auto options = std::make_shared<Options>();
    CLI::App* verb = context.app.add_subcommand("demo",
                                                "the main job in one go: CA, producer, functions, request, decision, "
                                                "agreement, training, report\nExample: muster demo --output json");
    verb->add_option("--cpu", options->cpu, "percent of a core for each function")
        ->delimiter(',')
        ->capture_default_str()
        ->check(CLI::Range(1.0, 6400.0));
    verb->add_option("--keep", options->keep, "folder to work in, which stays (else a temporary one)");
    verb->add_option("--timeout", options->timeout_seconds, "seconds to wait at most")
        ->capture_default_str()
        ->check(CLI::Range(1.0, 1e6));
    verb->callback([&context, options] { context.action = [&context, options] { return demo(context, *options); }; });
}

} // namespace muster::app
