#include "wire/agreement.h"
#include "wire/document.h"
#include "wire/messages.h"
#include "wire/plan.h"
#include "wire/preprocessing.h"
#include "wire/recipe.h"
#include "wire/worker_messages.h"

#include <gtest/gtest.h>

namespace muster::wire {
namespace {

constexpr auto recipe_text = R"(
name: ue-delay
inference: SLS_ANALYSIS_E2E_LATENCY_ANALYSIS
data:
  source: ue-delay/train
  target: delay_ms
  exclude: [run_id, sub_time_ms]
model: {family: mlp, hidden: [64, 32]}
loss: l1
optimizer: {name: adamw, learning_rate: 1e-3}
batch: 512
metrics: [MAE]
)";

TEST(Document, keeps_types_of_plain_and_quoted_scalars) {
    const auto document =
        parse_document("a: 1\nb: '1'\nc: 1e-3\nd: true\ne: ~\nf: SubNetwork=1,X=2\ng: -5\nh: .inf\n", "f.yaml");
    ASSERT_TRUE(document.ok()) << document.error().text();
    EXPECT_EQ(document->value,
              Json::parse(R"({"a":1,"b":"1","c":0.001,"d":true,"e":null,"f":"SubNetwork=1,X=2","g":-5,"h":".inf"})"));
}

TEST(Document, says_where_the_syntax_is_wrong) {
    const auto document = parse_document("a: 1\nb: [1, 2\nc: 3\n", "f.yaml");
    ASSERT_FALSE(document.ok());
    EXPECT_EQ(document.error().where.substr(0, 7), "f.yaml:");
    EXPECT_EQ(parse_document("a: 1\na: 2\n", "f.yaml").error().where, "f.yaml:2:1");
}

TEST(Document, survives_deep_nesting_and_alias_bombs) {
    EXPECT_FALSE(parse_document(std::string(100'000, '['), "deep").ok());
    std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
    for (int i = 1; i < 8; ++i) {
        bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
        for (int j = 0; j < 10; ++j) {
            bomb += "*a" + std::to_string(i - 1) + ", ";
        }
        bomb += "]\n";
    }
    EXPECT_EQ(parse_document(bomb, "bomb").error().message, "too many values");
    EXPECT_EQ(parse_document("a: &x [*x]", "loop").error().message, "nested deeper than 32 levels");
    EXPECT_FALSE(parse_document(std::string(100, '[') + std::string(100, ']'), "deep").ok());
}

TEST(Document, writes_yaml_that_reads_back_the_same) {
    const Json value = Json::parse(R"({"a":"1","b":[1,2.5,"x: y"],"c":{"d":true,"e":null,"f":""}})");
    const auto back = parse_document(to_yaml(value), "back");
    ASSERT_TRUE(back.ok()) << back.error().text();
    EXPECT_EQ(back->value, value);
}

TEST(Recipe, round_trips_and_has_a_stable_digest) {
    const auto document = parse_document(recipe_text, "ue-delay.yaml");
    const auto recipe = recipe_from_json(document->value, &document->places);
    ASSERT_TRUE(recipe.ok()) << recipe.error().text();
    EXPECT_EQ(recipe->model.hidden, (std::vector<std::int64_t>{64, 32}));
    const auto again = recipe_from_json(to_json(*recipe));
    ASSERT_TRUE(again.ok()) << again.error().text();
    EXPECT_EQ(again->digest, recipe->digest);
    EXPECT_EQ(recipe->digest.size(), 64U);
    EXPECT_EQ(model_kind(*recipe), "mlp 64-32");
}

TEST(Recipe, brings_a_program_by_its_digest_which_its_own_covers) {
    const auto with = [](const std::string& model) {
        const auto document =
            parse_document("name: own\ndata: {source: s, target: y}\nloss: mse\nmodel: " + model + "\n", "own.yaml");
        return recipe_from_json(document->value, &document->places);
    };
    const std::string digest(64, 'a');
    const auto recipe = with("{family: torchscript, archive: {sha256: " + digest + ", bytes: 10, blocks: 3}}");
    ASSERT_TRUE(recipe.ok()) << recipe.error().text();
    EXPECT_EQ(recipe->model.archive, (ModelArchive{digest, 10, 3}));
    EXPECT_EQ(block_count(*recipe), 3);
    EXPECT_EQ(model_kind(*recipe), "torchscript aaaaaaaaaaaa");
    EXPECT_EQ(recipe_from_json(to_json(*recipe))->digest, recipe->digest);
    const auto other =
        with("{family: torchscript, archive: {sha256: " + std::string(64, 'b') + ", bytes: 10, blocks: 3}}");
    EXPECT_NE(other->digest, recipe->digest);
    EXPECT_FALSE(with("{family: torchscript}").ok());
    EXPECT_FALSE(with("{torchscript: net.pt}").ok()) << "a file is named in front of the producer only";
    EXPECT_FALSE(with("{family: torchscript, archive: {sha256: abc, bytes: 10}}").ok());
    EXPECT_FALSE(with("{family: mlp, archive: {sha256: " + digest + ", bytes: 10}}").ok());
}

/// A recipe for a text with some more lines.
Result<Recipe>
text_recipe(const std::string& data, const std::string& model, const std::string& loss = "cross_entropy") {
    const auto document = parse_document(
        "name: lm\ndata: {source: s, " + data + "}\nmodel: {" + model + "}\nloss: " + loss + "\n", "lm.yaml");
    return recipe_from_json(document->value, &document->places);
}

TEST(Recipe, for_a_text_round_trips) {
    const auto recipe =
        text_recipe("text: {unit: byte, sequence: 64}", "family: transformer, layers: 2, width: 32, heads: 2");
    ASSERT_TRUE(recipe.ok()) << recipe.error().text();
    EXPECT_EQ(recipe->data.text, (RecipeText{TextUnit::byte, 64}));
    EXPECT_EQ(recipe->data.target, "next_byte");
    EXPECT_EQ(model_kind(*recipe), "transformer 2x32");
    const auto again = recipe_from_json(to_json(*recipe));
    ASSERT_TRUE(again.ok()) << again.error().text();
    EXPECT_EQ(again->digest, recipe->digest);
    EXPECT_EQ(to_json(*again), to_json(*recipe));
}

TEST(Recipe, of_mixed_precision_is_for_families_with_linear_layers_of_ours) {
    auto json = parse_document(recipe_text, "r.yaml")->value;
    json["number_type"] = "bf16";
    const auto recipe = recipe_from_json(json);
    ASSERT_TRUE(recipe.ok()) << recipe.error().text();
    EXPECT_EQ(recipe->number_type, NumberType::bf16);
    EXPECT_EQ(recipe_from_json(to_json(*recipe))->digest, recipe->digest);
    json["model"] = {{"family", "gru"}};
    json["data"]["windows"] = {{"length", 4}};
    const auto refused = recipe_from_json(json);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().where, "/number_type");
    EXPECT_NE(refused.error().text().find("trained in fp32 or fp64"), std::string::npos) << refused.error().text();
}

TEST(Recipe, with_a_history_says_what_is_derived_and_what_does_not_fit) {
    auto json = parse_document(recipe_text, "r.yaml")->value;
    const Json history{{"group", "run_id"},
                       {"value", "delay_ms"},
                       {"now", "pub_time_ms"},
                       {"known_at", "sub_time_ms"},
                       {"last", 2},
                       {"window", 20},
                       {"statistics", {"mean", "max"}},
                       {"outstanding", true},
                       {"since_last", true}};
    json["data"]["history"] = history;
    json["data"]["validation_rows"] = "end";
    json["report_by"] = {"cell_id"};
    json["data"]["log"] = {"delay_ms_*"};
    json["data"]["clip"] = {{"velocity", {0, 60}}};
    const auto recipe = recipe_from_json(json);
    ASSERT_TRUE(recipe.ok()) << recipe.error().text();
    EXPECT_EQ(recipe->data.history->statistics,
              (std::vector<HistoryStatistic>{HistoryStatistic::mean, HistoryStatistic::maximum}));
    EXPECT_EQ(recipe->data.validation_rows, ValidationKind::end);
    EXPECT_EQ(recipe->report_by, (std::vector<std::string>{"cell_id"}));
    EXPECT_EQ(recipe->data.log, (std::vector<std::string>{"delay_ms_*"}));
    EXPECT_EQ(recipe->data.clip, (std::vector<RecipeClip>{{"velocity", 0.0, 60.0}}));
    for (const Json& limits : {Json{5, 5}, Json{1}, Json{"a", "b"}, Json(3)}) {
        Json other = json;
        other["data"]["clip"]["velocity"] = limits;
        EXPECT_EQ(recipe_from_json(other).error().where, "/data/clip/velocity") << limits;
    }
    EXPECT_EQ(recipe_from_json(to_json(*recipe))->digest, recipe->digest);

    const auto refused = [&](const Json& change, const char* where) {
        Json other = json;
        other["data"]["history"].merge_patch(change);
        const auto wrong = recipe_from_json(other);
        ASSERT_FALSE(wrong.ok()) << change;
        EXPECT_EQ(wrong.error().where, where) << wrong.error().text();
    };
    refused({{"statistics", {"mean", "mode"}}}, "/data/history/statistics");
    refused({{"statistics", {"mean", "mean"}}}, "/data/history/statistics");
    refused({{"window", 0}}, "/data/history/window");
    refused({{"group", "delay_ms"}}, "/data/history");
    refused({{"now", "run_id"}}, "/data/history");
    refused({{"now", nullptr}}, "/data/history/now");
    refused({{"last", 0}, {"statistics", nullptr}, {"outstanding", nullptr}, {"since_last", nullptr}}, "/data/history");
    json["data"]["windows"] = {{"length", 4}};
    json["model"] = {{"family", "gru"}};
    EXPECT_EQ(recipe_from_json(json).error().where, "/data/history");
}

TEST(Recipe, for_a_text_says_what_does_not_fit) {
    struct Case {
        std::string data;
        std::string model;
        std::string loss;
        const char* expected;
    };
    const std::string good_model = "family: transformer";
    const Case cases[] = {
        {"text: {unit: word}", good_model, "cross_entropy", "allowed: byte, character"},
        {"text: {sequence: 1}", good_model, "cross_entropy", "from 2 to"},
        {"text: {}, target: y", good_model, "cross_entropy", "target"},
        {"text: {}, exclude: [a]", good_model, "cross_entropy", "no columns"},
        {"text: {}", good_model, "l1", "trained with cross_entropy"},
        {"text: {}", "family: mlp", "cross_entropy", "needs the family transformer"},
        {"target: y", good_model, "cross_entropy", "/data/text"},
        {"text: {}", "family: transformer, width: 36, heads: 4", "cross_entropy", "multiple of twice the heads"},
        {"text: {}", "family: transformer, hidden: [4]", "cross_entropy", "hidden"},
        {"text: {}", "family: tranformer", "cross_entropy", "did you mean \"transformer\"?"},
    };
    for (const Case& each : cases) {
        const auto recipe = text_recipe(each.data, each.model, each.loss);
        ASSERT_FALSE(recipe.ok()) << each.expected;
        EXPECT_NE(recipe.error().text().find(each.expected), std::string::npos) << recipe.error().text();
    }
}

TEST(Recipes, of_boosted_trees_say_how_they_are_grown) {
    const auto read = [](const char* model, const char* more) {
        return recipe_from_json(
            parse_document(std::string{"{name: r, data: {source: s, target: y}, model: {family: gbdt"} + model + "}" +
                               more + "}",
                           "r.yaml")
                ->value);
    };
    const auto recipe = read(", trees: 50, leaves: 7, learning_rate: 0.2", ", loss: poisson");
    ASSERT_TRUE(recipe) << recipe.error().text();
    EXPECT_EQ(recipe->model.trees, (RecipeTrees{.trees = 50, .leaves = 7, .learning_rate = 0.2}));
    EXPECT_EQ(model_kind(*recipe), "gbdt 50x7");
    const auto again = recipe_from_json(to_json(*recipe));
    ASSERT_TRUE(again) << again.error().text();
    EXPECT_EQ(again->digest, recipe->digest);
    EXPECT_FALSE(to_json(*recipe).contains("optimizer"));
    EXPECT_EQ(read("", ", loss: quantile, quantile: 0.9")->quantile, 0.9);
    for (const auto& [model, more, words] :
         {std::tuple{", hidden: [4]", ", loss: mse", "hidden"},
          std::tuple{"", ", loss: mse, batch: 5", "batch"},
          std::tuple{"", ", loss: mse, epochs: 5", "epochs"},
          std::tuple{"", ", loss: mse, optimizer: {name: sgd}", "optimizer"},
          std::tuple{"", ", loss: mse, number_type: bf16", "one number type"},
          std::tuple{"", ", loss: mse, quantile: 0.5", "quantile"},
          std::tuple{"", ", loss: quantile", "quantile"},
          std::tuple{"", ", loss: mse, class_weights: balanced", "class_weights"},
          std::tuple{", leaves: 1", ", loss: mse", "leaves"},
          std::tuple{"", ", loss: mse, distribution: {strategy: pipeline}", "no chain of blocks"}}) {
        const auto refused = read(model, more);
        ASSERT_FALSE(refused) << words;
        EXPECT_NE(refused.error().text().find(words), std::string::npos) << refused.error().text();
    }
}

TEST(Recipe, keeps_its_digest_when_what_is_new_is_off) {
    const auto document = parse_document(recipe_text, "r.yaml");
    const auto plain = recipe_from_json(document->value);
    auto changed = document->value;
    changed["optimizer"]["warm_up"] = 0;
    changed["optimizer"]["clip_norm"] = 0;
    changed["optimizer"]["state"] = "auto";
    EXPECT_EQ(recipe_from_json(changed)->digest, plain->digest);
    changed["optimizer"]["warm_up"] = 10;
    changed["optimizer"]["clip_norm"] = 0.5;
    const auto with_both = recipe_from_json(changed);
    ASSERT_TRUE(with_both.ok()) << with_both.error().text();
    EXPECT_NE(with_both->digest, plain->digest);
    EXPECT_EQ(recipe_from_json(to_json(*with_both))->optimizer.warm_up, 10);
    EXPECT_EQ(recipe_from_json(to_json(*with_both))->optimizer.clip_norm, 0.5);
    changed["optimizer"]["state"] = "sharded";
    const auto sharded = recipe_from_json(changed);
    ASSERT_TRUE(sharded.ok()) << sharded.error().text();
    EXPECT_NE(sharded->digest, with_both->digest);
    EXPECT_EQ(recipe_from_json(to_json(*sharded))->optimizer.state, StateKind::sharded);
}

TEST(Recipe, says_how_tables_are_written) {
    auto json = parse_document(recipe_text, "r.yaml")->value;
    const auto plain = recipe_from_json(json);
    EXPECT_FALSE(to_json(*plain)["data"].contains("csv"));
    json["data"]["csv"] = {{"delimiter", "tab"}, {"decimal", ","}, {"encoding", "latin-1"}, {"header", false}};
    const auto said = recipe_from_json(json);
    ASSERT_TRUE(said.ok()) << said.error().text();
    EXPECT_EQ(said->data.csv,
              (RecipeCsv{.delimiter = '\t', .decimal = ',', .encoding = CsvEncoding::latin1, .header = false}));
    EXPECT_EQ(recipe_from_json(to_json(*said))->data.csv, said->data.csv);
    EXPECT_NE(said->digest, plain->digest);
    json["data"]["csv"] = {{"encoding", "latin1"}};
    EXPECT_EQ(recipe_from_json(json).error().nearest, "latin-1");
    json["data"]["csv"] = {{"delimiter", ":"}};
    EXPECT_NE(recipe_from_json(json).error().text().find("tab"), std::string::npos);
}

TEST(Recipe, watches_validation_rows_to_stop_early) {
    auto json = parse_document(recipe_text, "r.yaml")->value;
    const auto plain = recipe_from_json(json);
    EXPECT_FALSE(to_json(*plain).contains("early_stopping"));
    json["early_stopping"] = {{"patience", 5}};
    const auto stopping = recipe_from_json(json);
    ASSERT_TRUE(stopping.ok()) << stopping.error().text();
    EXPECT_NE(stopping->digest, plain->digest);
    EXPECT_EQ(recipe_from_json(to_json(*stopping))->early_stopping, stopping->early_stopping);
    EXPECT_EQ(watched_metric(*stopping), stopping->metrics.front());
    json["metrics"] = Json::array();
    EXPECT_EQ(watched_metric(*recipe_from_json(json)), "MAE") << "of the loss l1";
    json["data"]["validation"] = 0.0;
    EXPECT_EQ(recipe_from_json(json).error().where, "/early_stopping");
}

TEST(Recipe, shards_optimizer_state_in_data_parallelism_only) {
    auto json = parse_document(recipe_text, "r.yaml")->value;
    json["optimizer"]["state"] = "shard";
    EXPECT_EQ(recipe_from_json(json).error().nearest, "sharded");
    json["optimizer"]["state"] = "sharded";
    json["distribution"]["strategy"] = "data_parallel";
    EXPECT_TRUE(recipe_from_json(json).ok());
    json["distribution"]["strategy"] = "one_function";
    EXPECT_EQ(recipe_from_json(json).error().where, "/optimizer/state");
}

struct BadRecipe {
    const char* line;
    const char* expected; ///< part of the error's text
};

TEST(Recipe, names_what_is_wrong_and_where) {
    const BadRecipe rows[] = {
        {"bacth: 5", R"(unknown key "bacth")"},
        {"bacth: 5", R"(did you mean "batch"?)"},
        {"bacth: 5", "r.yaml:15:1"},
        {"epochs: 0", "a whole number from 1 to"},
        {"epochs: many", "not \"many\""},
        {"seed: -1", "/seed"},
        {"number_type: fp16", "allowed: fp32, fp64, bf16"},
        {"stop_when_met: 1", "true or false"},
        {"early_stopping: {patience: 0}", "a whole number from 1 to"},
        {"early_stopping: {patients: 3}", R"(did you mean "patience"?)"},
        {"early_stopping: {metric: AUC}", "\"AUC\" does not fit the loss"},
        {"early_stopping: {metric: MEA}", R"(did you mean "MAE"?)"},
    };
    for (const BadRecipe& row : rows) {
        const auto document = parse_document(recipe_text + 1 + std::string{"\n\n\n"} + row.line + "\n", "r.yaml");
        const auto recipe = recipe_from_json(document->value, &document->places);
        ASSERT_FALSE(recipe.ok()) << row.line;
        EXPECT_NE(recipe.error().text().find(row.expected), std::string::npos) << recipe.error().text();
    }
}

TEST(Messages, every_type_round_trips) {
    const ToFunction propose = Propose{.job = "j1", .sources = {"a"}, .peers = {"SubNetwork=1"}, .lease_seconds = 20};
    const auto back = to_function_from_json(to_json(propose));
    ASSERT_TRUE(back.ok()) << back.error().text();
    EXPECT_EQ(to_json(*back), to_json(propose));
    const FromFunction done = Done{
        .job = "j1",
        .best_epoch = 4,
        .evaluations = {{"trained", "test", {{"accuracy", 75.0}}, {{"a", 3, {{"recall", 66.7}}}}, {{1, 0}, {1, 2}}}},
        .preprocessing = {.inputs = {{.name = "x"}}, .target = {.name = "y"}}};
    EXPECT_EQ(to_json(*from_function_from_json(to_json(done))), to_json(done));
    EXPECT_EQ(type_of(done), "done");
}

TEST(Messages, of_pinned_rows_round_trip) {
    TableStatistics statistics{.rows = 40, .target = {.name = "y", .values = 40, .mean = 3.5, .squares = 2.0}};
    statistics.inputs = {
        {.name = "x", .transform = {.low = 0.0, .high = 9.0, .log = true}, .values = 38, .missing = true},
        {.name = "cell", .kind = ColumnKind::category, .values = 40, .categories = {{"a", 40}}}};
    statistics.target_groups = {{1.5, 20}, {5.5, 20}};
    const FromFunction gathered = Gathered{.job = "j1", .statistics = statistics};
    EXPECT_EQ(type_of(gathered), "gathered");
    const auto back = from_function_from_json(to_json(gathered));
    ASSERT_TRUE(back.ok()) << back.error().text();
    EXPECT_EQ(std::get<Gathered>(*back).statistics, statistics);
    auto wrong = to_json(gathered);
    wrong["body"]["statistics"]["inputs"][0]["squares"] = -1.0;
    EXPECT_FALSE(from_function_from_json(wrong).ok());
    const ToFunction prepare =
        Prepare{.job = "j1", .recipe = "{}", .preprocessing = Preprocessing{.target = {.name = "y"}}};
    const auto order = to_function_from_json(to_json(prepare));
    ASSERT_TRUE(order.ok()) << order.error().text();
    EXPECT_EQ(std::get<Prepare>(*order).preprocessing, std::get<Prepare>(prepare).preprocessing);
    const ToFunction propose = Propose{.job = "j1", .layout = DataLayout::pinned};
    EXPECT_EQ(std::get<Propose>(*to_function_from_json(to_json(propose))).layout, DataLayout::pinned);
}

TEST(Messages, refuses_unknown_types_and_bodies_that_do_not_fit) {
    EXPECT_EQ(to_function_from_json(Json::parse(R"({"type":"propos","body":{}})")).error().nearest, "propose");
    EXPECT_FALSE(to_function_from_json(Json::parse(R"({"type":"propose","body":{"job":1}})")).ok());
    EXPECT_FALSE(to_function_from_json(Json::parse("[]")).ok());
}

TEST(WorkerMessages, carry_the_key) {
    const ToWorker commit = WorkerCommit{.order = {.job = "j1"}, .key = Secret{"pem"}, .rank = 2};
    const auto back = to_worker_from_json(to_json(commit));
    ASSERT_TRUE(back.ok()) << back.error().text();
    EXPECT_EQ(std::get<WorkerCommit>(*back).key.reveal(), "pem");
    EXPECT_EQ(std::get<WorkerCommit>(*back).rank, 2);
}

/// Shares of the optimizer's state of two members, and a word of the refusal; none: they are fine.
struct StateShares {
    double first;
    double second;
    const char* words;
};

const std::vector<StateShares>& state_share_cases() {
    static const std::vector<StateShares> cases{{1.0, 1.0, nullptr},
                                                {0.25, 0.75, nullptr},
                                                {0.0, 1.0, nullptr},
                                                {0.25, 0.75 + 1e-10, nullptr},
                                                {0.25, 0.76, "1.01, not 1"},
                                                {-0.5, 1.5, "member 0 is to keep -0.5"},
                                                {1.0, 0.5, "1.5, not 1"}};
    return cases;
}

template <typename Value>
void expect_refusal(const Result<Value>& read, const char* words) {
    EXPECT_EQ(read.ok(), words == nullptr) << (read.ok() ? words : read.error().text().c_str());
    if (!read.ok() && words != nullptr) {
        EXPECT_NE(read.error().message.find(words), std::string::npos) << read.error().text();
    }
}

/// Members "a" and "b" of any kind, with these shares.
template <typename Member>
std::vector<Member> two_members(double first, double second) {
    std::vector<Member> members(2);
    members[0].dn = "a";
    members[0].state_share = first;
    members[1].dn = "b";
    members[1].state_share = second;
    return members;
}

WorkerCommit commit_of(double first, double second) {
    WorkerCommit commit;
    commit.order.roster.members = two_members<RosterMember>(first, second);
    commit.key = Secret{"pem"};
    return commit;
}

Plan plan_of(double first, double second) {
    Plan plan;
    plan.candidates.resize(1);
    plan.candidates[0].members = two_members<PlanMember>(first, second);
    plan.candidates[0].state_sharded = true;
    return plan;
}

TEST(StateShares, are_checked_by_every_reader) {
    for (const auto& [first, second, words] : state_share_cases()) {
        Agreement agreement;
        agreement.members = two_members<AgreedMember>(first, second);
        expect_refusal(agreement_from_text(canonical_text(agreement)), words);
        const WorkerCommit commit = commit_of(first, second);
        expect_refusal(to_worker_from_json(to_json(ToWorker{commit})), words);
        expect_refusal(to_function_from_json(to_json(ToFunction{commit.order})), words);
        expect_refusal(plan_from_json(to_json(plan_of(first, second))), words);
    }
}

TEST(StateShares, round_trip) {
    const WorkerCommit commit = commit_of(0.1, 0.9);
    const auto back = to_worker_from_json(to_json(ToWorker{commit}));
    ASSERT_TRUE(back.ok()) << back.error().text();
    EXPECT_EQ(std::get<WorkerCommit>(*back).order.roster, commit.order.roster);
    Plan plan = plan_of(0.1, 0.9);
    EXPECT_EQ(to_json(*plan_from_json(to_json(plan))), to_json(plan));
    plan.candidates[0].state_sharded = false;
    EXPECT_EQ(plan_from_json(to_json(plan)).error().where, "/candidates/0/members");
}

TEST(Agreement, is_read_only_in_canonical_form) {
    const Agreement agreement{.job = "j1", .generation = 1, .members = {{"SubNetwork=1", "muster://job/j1/x", 512}}};
    const std::string text = canonical_text(agreement);
    const auto back = agreement_from_text(text);
    ASSERT_TRUE(back.ok()) << back.error().text();
    EXPECT_EQ(*back, agreement);
    EXPECT_FALSE(agreement_from_text(" " + text).ok());
    Agreement other = agreement;
    other.members[0].batch_rows = 511;
    EXPECT_NE(digest_of(other), digest_of(agreement));
    other = agreement;
    other.members[0].state_share = 0.5;
    EXPECT_NE(digest_of(other), digest_of(agreement));
}

TEST(Preprocessing, round_trips) {
    const Preprocessing preprocessing{.inputs = {{.name = "cell", .kind = ColumnKind::category, .categories = {"a"}}},
                                      .target = {.name = "y"}};
    EXPECT_EQ(*preprocessing_from_json(to_json(preprocessing)), preprocessing);
    EXPECT_FALSE(preprocessing_from_json(Json::parse("{}")).ok());
}

} // namespace
} // namespace muster::wire
