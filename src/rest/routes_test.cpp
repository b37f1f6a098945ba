/// The routes over a real producer, store in memory; and blobs and enrolment over HTTPS.
#include "base/digest.h"
#include "base/file.h"
#include "link/blob_upload.h"
#include "link/https_client.h"
#include "port/fake/memory_store.h"
#include "producer/producer.h"
#include "rest/routes.h"
#include "rest/test_pki.h"
#include "store/file_artefacts.h"
#include "wire/document.h"

#include <gtest/gtest.h>

#include <thread>

namespace muster::rest {
namespace {

using namespace std::chrono_literals;
using test::Pki;

const std::string gnb = "SubNetwork=1,ManagedElement=gnb-1,MLTrainingFunction=1";
constexpr const char* own = "/ProvMnS/v1/SubNetwork=1/MLTrainingFunction=mlt";

constexpr const char* policy_text = R"(
rules:
  - {who: "muster://consumer/oss", may: [create, read, update, delete, subscribe, model_download, recipe, plan], on: "*"}
  - {who: "muster://consumer/reader", may: [read], on: "SubNetwork=1,MLTrainingFunction=mlt"}
  - {who: "muster://consumer/admin", may: [admin], on: "*"}
  - {who: "muster://consumer/guard", may: [revoke], on: "*"}
)";

constexpr const char* recipe_text = R"(
name: delay
inference: SLS_ANALYSIS_E2E_LATENCY_ANALYSIS
data: {source: delay/train, target: delay_ms}
model: {family: mlp, hidden: [8]}
loss: l1
optimizer: {name: adamw, learning_rate: 1e-3}
batch: 64
epochs: 1
metrics: [MAE]
)";

Deadline soon() {
    return Deadline::after(10s);
}

/// A whole producer but for its functions.
struct Routes : testing::Test {
    Routes() : folder{std::filesystem::temp_directory_path() / ("routes-" + random_hex(8))} {
        std::filesystem::create_directories(folder);
        artefacts = store::FileArtefacts::open({.folder = folder}).value();
        audit = auth::AuditLog::open(folder / "audit.log", clock).value();
        gate.emplace(auth::Policy::parse(wire::parse_document(policy_text, "policy").value()).value(), revocations);
        brain = producer::Producer::open(
                    {store, control, *artefacts, job_authority, clock, job_authority.certificate()}, {})
                    .value();
        control.start(brain->epoch(), brain->events());
        make_router();
    }
    void make_router() {
        router.emplace(World{*gate,
                             *audit,
                             &enrolment,
                             brain->objects(),
                             brain->services(),
                             *artefacts,
                             control,
                             revocations,
                             [this](const StillLetIn& stays) {
                                 if (server) {
                                     server->recheck(stays);
                                 }
                             }});
    }
    ~Routes() override {
        control.stop();
        server.reset();
        std::filesystem::remove_all(folder);
    }

    Response ask(const std::string& method,
                 const std::string& path,
                 const Json& body = nullptr,
                 std::string type = "application/json",
                 const std::string& uri = tls::consumer_uri("oss")) {
        Request request{.method = method, .path = path, .identity = tls::parse_identity(uri), .peer = "192.0.2.1:7"};
        if (const auto mark = path.find('?'); mark != std::string::npos) {
            request.path = path.substr(0, mark);
            const auto equals = path.find('=', mark);
            request.query[path.substr(mark + 1, equals - mark - 1)] = path.substr(equals + 1);
        }
        if (!body.is_null()) {
            request.body = body.is_string() ? body.get<std::string>() : body.dump();
            request.headers.emplace_back("content-type", std::move(type));
        }
        request.headers.emplace_back("accept", accept);
        return router->handle(request);
    }
    static Json body_of(const Response& response) { return Json::parse(response.body, nullptr, false); }
    static std::string header_of(const Response& response, const std::string& name) {
        for (const auto& [key, value] : response.headers) {
            if (key == name) {
                return value;
            }
        }
        return {};
    }
    static Json training_request(const std::string& id) {
        return {{"id", id},
                {"objectClass", "MLTrainingRequest"},
                {"attributes",
                 {{"trainingRequestSource", "oss"},
                  {"aIMLInferenceName", "SLS_ANALYSIS_E2E_LATENCY_ANALYSIS"},
                  {"mLTrainingType", "INITIAL_TRAINING"},
                  {"performanceRequirements",
                   Json::array({{{"inferenceOutputName", "delay_ms"},
                                 {"performanceMetric", "MAE"},
                                 {"performanceScore", 3.0}}})}}}};
    }
    void add_recipe() { ASSERT_EQ(ask("POST", "/muster/v1/recipes", recipe_text, "application/yaml").status, 201); }
    [[nodiscard]] std::string audit_text() const { return read_file(folder / "audit.log").value(); }

    void serve() {
        server.emplace(
            ServerSettings{.address = "127.0.0.1"},
            pki.server(),
            [this](const Request& request) { return router->handle(request); },
            [this](const Request& request) { return router->upgrade(request); });
        ASSERT_TRUE(server->start().ok());
    }
    [[nodiscard]] link::HttpsClient client(const tls::Context& context) const {
        return link::HttpsClient{{"127.0.0.1", server->port()}, context};
    }

    std::filesystem::path folder;
    std::string accept{"application/json"};
    Pki pki;
    SystemClock clock;
    MemoryStore store;
    tls::Authority authority{tls::Authority::open(pki.root()).value()};
    tls::Authority job_authority{tls::Authority::open(tls::Authority::make_root("jobs", 1h, clock.wall_now())).value()};
    auth::Revocations revocations{store, clock};
    auth::Enrolment enrolment{store, authority, revocations, clock};
    std::unique_ptr<store::FileArtefacts> artefacts;
    std::unique_ptr<auth::AuditLog> audit;
    std::optional<auth::Gate> gate;
    link::FunctionServer control{{}, clock};
    std::unique_ptr<producer::Producer> brain;
    std::optional<Router> router;
    std::optional<Server> server;
};

TEST_F(Routes, creates_reads_and_refuses_a_training_request) {
    add_recipe();
    const auto path = std::string{own} + "/MLTrainingRequest=r1";
    const auto created = ask("PUT", path, training_request("r1"));
    ASSERT_EQ(created.status, 201) << created.body;
    EXPECT_EQ(header_of(created, "Location"), path);
    EXPECT_EQ(body_of(created)["id"], "r1");
    const auto read = ask("GET", path);
    ASSERT_EQ(read.status, 200) << read.body;
    EXPECT_EQ(read.content_type, "application/json");
    EXPECT_EQ(body_of(read)["attributes"]["trainingRequestSource"], "oss");
    EXPECT_EQ(ask("GET", path + "?attributes=requestStatus").status, 200);
    EXPECT_EQ(ask("GET", path + "?attributes=mLKnowledgeName").status, 404);
    const auto posted = ask("POST", own, training_request("r2"));
    ASSERT_EQ(posted.status, 201) << posted.body;
    EXPECT_EQ(ask("PATCH", path, {{"attributes", {{"cancelRequest", true}}}}, "application/merge-patch+json").status,
              200);
}

TEST_F(Routes, takes_a_recipe_only_with_its_archive) {
    const std::string content = "not looked at here";
    const std::string sha256 = sha256_hex(content);
    const Json recipe{
        {"name", "own"},
        {"data", {{"source", "s"}, {"target", "y"}}},
        {"loss", "mse"},
        {"model", {{"family", "torchscript"}, {"archive", {{"sha256", sha256}, {"bytes", content.size()}}}}}};
    EXPECT_EQ(ask("POST", "/muster/v1/recipes", recipe).status, 400);
    const auto path = "/muster/v1/blobs/" + sha256;
    EXPECT_EQ(ask("PUT", path, content, "application/octet-stream", tls::consumer_uri("reader")).status, 403);
    Request large{.method = "PUT", .path = path, .identity = tls::parse_identity(tls::consumer_uri("oss"))};
    large.headers.emplace_back("content-range", "bytes 0-0/1073741825");
    large.body = "x";
    EXPECT_EQ(router->handle(large).status, 400) << "larger than limits.program_bytes_max";
    EXPECT_EQ(ask("PUT", path, content, "application/octet-stream").status, 201);
    EXPECT_EQ(ask("POST", "/muster/v1/recipes", recipe).status, 201);
    Json other = recipe;
    other["model"]["archive"]["bytes"] = 1;
    EXPECT_NE(ask("POST", "/muster/v1/recipes", other).body.find("another size"), std::string::npos);
}

TEST_F(Routes, names_bad_attributes_with_allowed_values_and_the_nearest) {
    add_recipe();
    auto request = training_request("r1");
    request["attributes"]["mLTrainingType"] = "INITIAL_TRAINIG";
    request["attributes"]["trainingRequestSorce"] = "oss";
    const auto refused = ask("PUT", std::string{own} + "/MLTrainingRequest=r1", request);
    ASSERT_EQ(refused.status, 400) << refused.body;
    const auto body = body_of(refused);
    EXPECT_EQ(body["status"], "400");
    EXPECT_TRUE(body["type"].is_string());
    ASSERT_EQ(body["badAttributes"].size(), 2U) << body.dump(2);
    for (const auto& problem : body["otherProblems"]) {
        EXPECT_TRUE(problem["type"].is_string());
        EXPECT_FALSE(problem["nearestMatch"].get<std::string>().empty()) << problem.dump(2);
        EXPECT_FALSE(problem["allowedValues"].empty());
    }
}

TEST_F(Routes, refuses_bodies_that_are_no_json_or_of_another_type) {
    const auto path = std::string{own} + "/MLTrainingRequest=r1";
    const auto broken = ask("PUT", path, "{\n \"a\": x}");
    EXPECT_EQ(broken.status, 400);
    EXPECT_NE(broken.body.find("line 2, column"), std::string::npos) << broken.body;
    EXPECT_EQ(ask("PUT", path, std::string(100'000, '[')).status, 400);
    EXPECT_EQ(ask("PUT", path, "a: b", "application/yaml").status, 415);
    const auto patch = ask("PATCH", path, "[]", "application/3gpp-json-patch+json");
    EXPECT_EQ(patch.status, 415);
    EXPECT_EQ(header_of(patch, "Accept-Patch"), "application/merge-patch+json");
}

TEST_F(Routes, answers_by_scope_and_accept) {
    accept = "application/vnd.3gpp.object-tree-flat+json";
    const auto flat = ask("GET", "/ProvMnS/v1/SubNetwork=1?scopeType=BASE_ALL");
    ASSERT_EQ(flat.status, 200) << flat.body;
    EXPECT_EQ(flat.content_type, accept);
    EXPECT_GE(body_of(flat).size(), 3U);
    const auto json = ask("GET", R"(/ProvMnS/v1/SubNetwork=1?scope={"scopeType":"BASE_ALL"})");
    EXPECT_EQ(json.body, flat.body);
    accept = "application/vnd.3gpp.object-tree-hierarchical+json";
    EXPECT_TRUE(body_of(ask("GET", "/ProvMnS/v1/SubNetwork=1?scopeType=BASE_ALL")).contains("MLTrainingFunction"));
    accept = "text/html";
    EXPECT_EQ(ask("GET", "/ProvMnS/v1/SubNetwork=1").status, 406);
    accept = "application/json";
    EXPECT_EQ(ask("GET", "/ProvMnS/v1/SubNetwork=1?scopeType=ALL").status, 400);
    EXPECT_EQ(ask("GET", "/ProvMnS/v1/SubNetwork=2").status, 404);
    EXPECT_EQ(ask("GET", "/ProvMnS/v1/nonsense").status, 400);
    EXPECT_EQ(ask("GET", "/ProvMnS/v1").status, 204);
    EXPECT_EQ(ask("GET", "/ProvMnS/v1/").status, 204);
}

TEST_F(Routes, lets_nobody_do_what_no_rule_allows) {
    const auto reader = tls::consumer_uri("reader");
    EXPECT_EQ(ask("GET", own, nullptr, "", reader).status, 200);
    EXPECT_EQ(ask("GET", "/ProvMnS/v1/SubNetwork=1", nullptr, "", reader).status, 403);
    EXPECT_EQ(
        ask("PUT", std::string{own} + "/MLTrainingRequest=r", training_request("r"), "application/json", reader).status,
        403);
    EXPECT_EQ(ask("POST", "/muster/v1/recipes", "{}", "application/json", reader).status, 403);
    EXPECT_EQ(ask("POST", "/muster/v1/tokens", {{"dn", gnb}}).status, 403);
    EXPECT_EQ(ask("GET", "/healthz", nullptr, "", reader).status, 200);
    EXPECT_EQ(ask("GET", "/healthz", nullptr, "", tls::job_uri("j", gnb)).status, 403);
    EXPECT_TRUE(revocations.revoke("identity:" + reader, "left", "admin").ok());
    EXPECT_EQ(ask("GET", own, nullptr, "", reader).status, 403);
    const auto log = audit_text();
    EXPECT_NE(log.find("muster://consumer/reader"), std::string::npos);
    EXPECT_NE(log.find("revoked"), std::string::npos) << log;
}

TEST_F(Routes, revokes_lists_and_restores_with_a_right_of_its_own) {
    const auto guard = tls::consumer_uri("guard");
    const auto reader = tls::consumer_uri("reader");
    const std::string path = "/muster/v1/revocations/identity%3Amuster%3A%2F%2Fconsumer%2Freader";
    for (const char* who : {"oss", "admin", "reader"}) {
        EXPECT_EQ(ask("PUT", path, {{"reason", "x"}}, "application/json", tls::consumer_uri(who)).status, 403) << who;
        EXPECT_EQ(ask("GET", "/muster/v1/revocations", nullptr, "", tls::consumer_uri(who)).status, 403) << who;
    }
    EXPECT_EQ(ask("PUT", path, {{"reason", ""}}, "application/json", guard).status, 400);
    EXPECT_EQ(ask("PUT", "/muster/v1/revocations/gnb-1", {{"reason", "x"}}, "application/json", guard).status, 400);
    EXPECT_EQ(ask("GET", own, nullptr, "", reader).status, 200);

    const auto revoked = ask("PUT", path, {{"reason", "laptop lost"}}, "application/json", guard);
    ASSERT_EQ(revoked.status, 201) << revoked.body;
    EXPECT_EQ(body_of(revoked)["subject"], "identity:" + reader);
    EXPECT_EQ(body_of(revoked)["by"], guard);
    EXPECT_EQ(ask("PUT", path, {{"reason", "again"}}, "application/json", guard).status, 200);
    const auto refused = ask("GET", own, nullptr, "", reader);
    EXPECT_EQ(refused.status, 403);
    EXPECT_NE(refused.body.find("laptop lost"), std::string::npos) << refused.body;
    const auto list = body_of(ask("GET", "/muster/v1/revocations", nullptr, "", guard));
    ASSERT_EQ(list.size(), 1U);
    EXPECT_EQ(list[0]["reason"], "laptop lost");

    EXPECT_EQ(ask("DELETE", path, nullptr, "", guard).status, 204);
    EXPECT_EQ(ask("DELETE", path, nullptr, "", guard).status, 404);
    EXPECT_EQ(ask("GET", own, nullptr, "", reader).status, 200);
    const auto log = audit_text();
    EXPECT_NE(log.find(R"("operation":"PUT")"), std::string::npos) << log;
    EXPECT_NE(log.find("revocations/identity%3Amuster"), std::string::npos) << log;
}

TEST_F(Routes, answers_no_order_to_revoke_that_is_not_durable) {
    const auto guard = tls::consumer_uri("guard");
    store.set_down(true);
    EXPECT_EQ(ask("PUT", "/muster/v1/revocations/serial%3A0a", {{"reason", "x"}}, "application/json", guard).status,
              503);
    store.set_down(false);
    EXPECT_TRUE(revocations.list().empty());
}

TEST_F(Routes, closes_the_open_connection_of_a_revoked_certificate_at_once) {
    serve();
    auto reader = client(pki.client(tls::consumer_uri("reader")));
    auto other = client(pki.client(tls::consumer_uri("oss")));
    auto guard = client(pki.client(tls::consumer_uri("guard")));
    ASSERT_EQ(reader.request("GET", "/healthz", {}, {}, soon())->status, 200);
    ASSERT_EQ(other.request("GET", "/healthz", {}, {}, soon())->status, 200);
    const auto done = guard.request("PUT",
                                    "/muster/v1/revocations/identity%3Amuster%3A%2F%2Fconsumer%2Freader",
                                    {{"Content-Type", "application/json"}},
                                    R"({"reason": "left"})",
                                    soon());
    ASSERT_EQ(done->status, 201) << done->body;
    // What is told from the outside: the server forgets the connection, and only that one.
    const auto deadline = soon();
    while (server->connections() != 2 && !deadline.passed()) {
        std::this_thread::yield();
    }
    EXPECT_EQ(server->connections(), 2U);
    EXPECT_EQ(other.request("GET", "/healthz", {}, {}, soon())->status, 200);
    EXPECT_EQ(reader.request("GET", "/healthz", {}, {}, soon())->status, 403) << "it may dial, and is told why not";
}

TEST_F(Routes, answers_401_without_certificate_404_405_and_503) {
    Request nobody{.method = "GET", .path = "/healthz", .peer = "192.0.2.1:7"};
    EXPECT_EQ(router->handle(nobody).status, 401);
    nobody.path = "/nothing";
    EXPECT_EQ(router->handle(nobody).status, 401) << "a stranger does not learn what is there";
    EXPECT_EQ(ask("GET", "/nothing").status, 404);
    const auto wrong = ask("DELETE", "/muster/v1/recipes");
    EXPECT_EQ(wrong.status, 405);
    EXPECT_EQ(header_of(wrong, "Allow"), "GET, POST");
    EXPECT_EQ(ask("GET", "/muster/v1/jobs/none/log").status, 404);
    EXPECT_EQ(ask("GET", "/readyz").status, 200);
    EXPECT_EQ(ask("GET", "/metrics").content_type.substr(0, 10), "text/plain");
}

TEST_F(Routes, serves_recipes_plans_and_functions) {
    add_recipe();
    EXPECT_EQ(body_of(ask("GET", "/muster/v1/recipes")).size(), 1U);
    EXPECT_EQ(body_of(ask("GET", "/muster/v1/recipes/delay"))["name"], "delay");
    const auto unknown = ask("GET", "/muster/v1/recipes/dela");
    EXPECT_EQ(unknown.status, 404);
    EXPECT_NE(unknown.body.find(R"("nearestMatch":"delay")"), std::string::npos) << unknown.body;
    EXPECT_EQ(ask("POST", "/muster/v1/recipes", "name: x\n  y: z", "application/yaml").status, 400);
    EXPECT_TRUE(body_of(ask("GET", "/muster/v1/functions")).is_array());
    EXPECT_EQ(ask("POST", "/muster/v1/plan", {{"x", 1}}).status, 400);
    EXPECT_EQ(ask("POST", "/muster/v1/plan", {{"attributes", training_request("r")["attributes"]}}).status, 503)
        << "no function is there";
}

TEST_F(Routes, refuses_changes_while_the_audit_log_cannot_be_written) {
    // The log's file becomes a full device; what happens before the next write is noticed there.
    std::filesystem::remove(folder / "audit.log");
    std::filesystem::create_symlink("/dev/full", folder / "audit.log");
    audit = auth::AuditLog::open(folder / "audit.log", clock).value();
    make_router();
    EXPECT_EQ(ask("POST", "/muster/v1/recipes", "{}").status, 400);
    EXPECT_EQ(ask("POST", "/muster/v1/recipes", recipe_text, "application/yaml").status, 503);
    EXPECT_EQ(ask("GET", "/muster/v1/recipes").status, 200);
}

TEST_F(Routes, answers_503_while_the_store_is_down) {
    store.set_down(true);
    EXPECT_EQ(ask("GET", own).status, 503);
    store.set_down(false);
    EXPECT_EQ(ask("GET", own).status, 200);
}

TEST_F(Routes, enrols_and_renews_a_function_over_https) {
    serve();
    auto admin = client(pki.client(tls::consumer_uri("admin")));
    const link::Headers json{{"Content-Type", "application/json"}};
    const auto token =
        admin.request("POST", "/muster/v1/tokens", json, Json{{"dn", gnb}, {"lifetime_seconds", 60}}.dump(), soon());
    ASSERT_TRUE(token.ok()) << token.error().text();
    ASSERT_EQ(token->status, 201) << token->body;
    const auto key = tls::make_key();
    const auto csr = tls::make_request(key, tls::function_uri("SubNetwork=1,MLTrainingFunction=liar")).value();
    const Json body{{"token", Json::parse(token->body)["token"]}, {"dn", gnb}, {"csr", csr}};
    const auto fingerprint = tls::inspect(pki.root().certificate)->fingerprint;
    auto pinned = client(tls::Context::pinned_client(fingerprint).value());
    const auto enrolled = pinned.request("POST", "/muster/v1/enrolment", json, body.dump(), soon());
    ASSERT_TRUE(enrolled.ok()) << enrolled.error().text();
    ASSERT_EQ(enrolled->status, 200) << enrolled->body;
    const auto certificate = Json::parse(enrolled->body)["certificate"].get<std::string>();
    EXPECT_EQ(tls::inspect(certificate)->identity.name, gnb) << "the name is the token's, not the request's";

    const auto context = tls::Context::client({{certificate, key}, pki.root().certificate}).value();
    const auto renewed = client(context).request("POST", "/muster/v1/renewal", json, Json{{"csr", csr}}.dump(), soon());
    ASSERT_TRUE(renewed.ok()) << renewed.error().text();
    EXPECT_EQ(renewed->status, 200) << renewed->body;
    EXPECT_EQ(client(pki.stranger()).request("POST", "/muster/v1/renewal", json, "{}", soon())->status, 401);
    EXPECT_EQ(client(pki.stranger()).request("GET", "/healthz", {}, {}, soon())->status, 401);
    auto wrong = client(tls::Context::pinned_client(std::string(64, 'a')).value());
    EXPECT_EQ(wrong.request("POST", "/muster/v1/enrolment", json, body.dump(), soon()).error().code,
              ErrorCode::unauthenticated);
}

TEST_F(Routes, takes_a_blob_in_parts_resumes_it_and_gives_it_out) {
    serve();
    const auto function = pki.client(tls::function_uri(gnb));
    std::string content;
    while (content.size() < 300'000) {
        content += random_hex(1000);
    }
    const auto sha256 = sha256_hex(content);
    ASSERT_TRUE(replace_file(folder / "model.pt", content).ok());
    const auto path = link::blob_path(sha256);
    auto one = client(function);
    const auto first = one.request("PUT",
                                   path,
                                   {{"Content-Range", "bytes 0-99999/" + std::to_string(content.size())}},
                                   content.substr(0, 100'000),
                                   soon());
    ASSERT_EQ(first->status, 202) << first->body;
    EXPECT_EQ(first->header(link::offset_header), "100000");
    const auto wrong =
        one.request("PUT", path, {{"Content-Range", "bytes 5-9/" + std::to_string(content.size())}}, "12345", soon());
    EXPECT_EQ(wrong->status, 409);
    EXPECT_EQ(wrong->header(link::offset_header), "100000");
    EXPECT_EQ(one.request("PUT", path, {{"Content-Range", "bytes 9-5/7"}}, "12345", soon())->status, 400);
    EXPECT_EQ(one.request("PUT", "/muster/v1/blobs/nonsense", {}, "12345", soon())->status, 400);

    const auto done =
        link::upload_blob([&] { return client(function); }, folder / "model.pt", sha256, 64U << 10U, soon());
    ASSERT_TRUE(done.ok()) << done.error().text();
    EXPECT_TRUE(
        link::upload_blob([&] { return client(function); }, folder / "model.pt", sha256, 64U << 10U, soon()).ok());

    auto consumer = client(pki.client(tls::consumer_uri("oss")));
    const auto got = consumer.download(path, {}, folder / "copy.pt", 1U << 30U, soon());
    ASSERT_TRUE(got.ok()) << got.error().text();
    EXPECT_EQ(sha256_file(folder / "copy.pt").value(), sha256);
    auto reader = client(pki.client(tls::consumer_uri("reader")));
    EXPECT_EQ(reader.request("PUT", path, {}, "x", soon())->status, 403) << "who adds no recipes uploads nothing";
    EXPECT_EQ(reader.request("GET", path, {}, {}, soon())->status, 403);
    EXPECT_EQ(one.request("GET", path, {}, {}, soon())->status, 403) << "a function gets what its job's recipe names";

    const auto lie = link::upload_blob(
        [&] { return client(function); }, folder / "model.pt", std::string(64, 'a'), 1U << 20U, soon());
    ASSERT_FALSE(lie.ok());
    EXPECT_EQ(lie.error().code, ErrorCode::invalid_argument) << lie.error().text();
}

TEST(RouteTable, names_each_route_once_and_where_it_comes_from) {
    std::vector<std::string> seen;
    for (const auto& route : routes()) {
        const auto name = std::string{route.method} + " " + std::string{route.pattern};
        EXPECT_EQ(std::ranges::count(seen, name), 0) << name;
        EXPECT_FALSE(route.source.empty()) << name;
        seen.push_back(name);
    }
}

} // namespace
} // namespace muster::rest
