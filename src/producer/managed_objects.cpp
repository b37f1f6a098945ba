#include "producer/managed_objects.h"

#include "base/digest.h"
#include "base/id.h"
#include "base/log.h"
#include "nrm/class_table.h"
#include "producer/request_rules.h"
#include "wire/recipe.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace muster::producer {
namespace {

using nrm::Json;

constexpr auto tombstone_kind = "tombstone";
constexpr std::size_t id_length_max = 128;

Refusal refusal_of(ErrorCode code, std::string reason, std::string where = {}) {
    Refusal refusal{code, reason};
    if (!where.empty()) {
        refusal.problems.push_back({code, std::move(reason), std::move(where)});
    }
    return refusal;
}

Refusal refusal_of(nrm::Problems problems) {
    std::string reason = problems.front().text();
    if (problems.size() > 1) {
        reason += fmt::format(" (and {} more)", problems.size() - 1);
    }
    return {problems.front().code, std::move(reason), std::move(problems)};
}

Refusal refusal_of(const Error& error) {
    return {error.code, error.text(), {error}};
}

WriteResult refused(Refusal refusal) {
    return {.ok = false, .refusal = std::move(refusal)};
}

/// Checks the members of a body that are not attributes; `needs_naming`: id and objectClass are required (PUT).
std::optional<Refusal> check_envelope(const nrm::Dn& dn, const Json& body, bool needs_naming) {
    if (!body.is_object()) {
        return refusal_of(ErrorCode::invalid_argument, "the body must be an object {id, objectClass, attributes}", "/");
    }
    static const std::vector<std::string> known{"id", "objectClass", "attributes", "objectInstance"};
    nrm::Problems problems;
    for (const auto& [name, value] : body.items()) {
        if (std::ranges::find(known, name) == known.end()) {
            problems.push_back(not_allowed("/" + name, name, known));
        }
    }
    const auto naming = [&](const char* name, const std::string& expected) {
        if (!body.contains(name)) {
            if (needs_naming) {
                problems.push_back({ErrorCode::invalid_argument, "required", std::string{"/"} + name});
            }
        } else if (body[name] != expected) {
            problems.push_back({ErrorCode::invalid_argument,
                                fmt::format("must be \"{}\", as in the URI", expected),
                                std::string{"/"} + name});
        }
    };
    naming("id", dn.leaf().id);
    naming("objectClass", dn.leaf().class_name);
    if (body.contains("attributes") && !body["attributes"].is_object()) {
        problems.push_back({ErrorCode::invalid_argument, "must be an object", "/attributes"});
    }
    return problems.empty() ? std::nullopt : std::optional{refusal_of(std::move(problems))};
}

Json attributes_in(const Json& body) {
    return body.contains("attributes") ? body["attributes"] : Json::object();
}

Json body_of(const nrm::Object& object) {
    return nrm::to_json(object);
}

/// A vendor container that a consumer may write: below a request, and not of our own types.
std::optional<Refusal> check_container(const nrm::Dn& dn, const Json& attributes) {
    if (dn.depth() < 2 || dn.parent().leaf().class_name != "MLTrainingRequest") {
        return refusal_of(ErrorCode::permission_denied,
                          "consumers may keep a VsDataContainer below an MLTrainingRequest only; all others are the "
                          "producer's");
    }
    if (attributes.value("vsDataType", "").starts_with("muster:")) {
        return refusal_of(
            ErrorCode::permission_denied, "types that start with muster: are reserved", "/attributes/vsDataType");
    }
    return std::nullopt;
}

bool is_running(const nrm::Object* process) {
    return process != nullptr &&
           process->attributes.value("progressStatus", Json::object()).value("status", "") == "RUNNING";
}

std::int64_t wall_ms(const Clock& clock) {
    return std::chrono::duration_cast<milliseconds>(clock.wall_now().time_since_epoch()).count();
}

} // namespace

std::string content_digest(const Json& request_attributes) {
    Json content = request_attributes;
    for (const char* state : {"requestStatus", "cancelRequest", "suspendRequest"}) {
        content.erase(state);
    }
    return sha256_hex(content.dump());
}

nrm::Dn beside(const nrm::Dn& request, const std::string& class_name) {
    return request.parent().child(class_name, request.leaf().id);
}

Write tombstone_of(const nrm::Object& request, const std::string& report, const std::string& outcome) {
    const Json body{{"digest", content_digest(request.attributes)},
                    {"report", report},
                    {"process", beside(request.dn, "MLTrainingProcess").text()},
                    {"outcome", outcome}};
    return {.kind = tombstone_kind, .key = request.dn.text(), .body = body.dump()};
}

WriteResult TreeManagement::put(const nrm::Dn& dn, const Json& body, const std::string& caller) {
    if (auto wrong = check_envelope(dn, body, true)) {
        return refused(*std::move(wrong));
    }
    WriteResult result;
    std::optional<Job> job;
    const auto done = parts_.tree.transact(Origin::consumer, [&](Transaction& transaction) -> Result<void> {
        Attempt refusal;
        const nrm::Object* current = transaction.find(dn);
        if (current != nullptr) {
            const nrm::Object before = *current;
            refusal = replace(transaction, before, body);
            result.answer.effect =
                !refusal && transaction.find(dn)->version != before.version ? Effect::changed : Effect::unchanged;
        } else {
            Creation creation = create(transaction, dn, body, caller);
            refusal = std::move(creation.refusal);
            job = std::move(creation.job);
            result.answer.effect = Effect::created;
        }
        if (refusal) {
            result.refusal = *std::move(refusal);
            return Error{result.refusal.code, result.refusal.reason};
        }
        const nrm::Object* stored = transaction.find(dn);
        result.answer.body = body_of(*stored);
        result.answer.dn = dn.text();
        result.answer.stored_differs = stored->attributes != attributes_in(body);
        return {};
    });
    result.ok = done.ok();
    if (!done && result.refusal.reason.empty()) {
        result.refusal = refusal_of(done.error());
    }
    audit("put", dn.text(), caller, result);
    if (result.ok && job) {
        parts_.intake.submitted(*std::move(job));
    } else if (result.ok) {
        parts_.intake.changed();
    }
    return result;
}

WriteResult TreeManagement::post(const nrm::Dn& parent, const Json& body, const std::string& caller) {
    if (!body.is_object() || !body.contains("objectClass") || !body["objectClass"].is_string()) {
        return refused(refusal_of(ErrorCode::invalid_argument, "objectClass is required", "/objectClass"));
    }
    Json named = body;
    if (!named.contains("id") || named["id"].is_null()) {
        constexpr std::size_t random_bytes = 8;
        named["id"] = random_hex(random_bytes);
    }
    if (!named["id"].is_string() || named["id"].get<std::string>().empty() ||
        named["id"].get<std::string>().size() > id_length_max) {
        return refused(refusal_of(
            ErrorCode::invalid_argument, fmt::format("must be a text of 1 to {} characters", id_length_max), "/id"));
    }
    const nrm::Dn dn = parent.child(named["objectClass"].get<std::string>(), named["id"].get<std::string>());
    if (!nrm::Dn::parse(dn.text()) || parts_.tree.find(dn)) {
        return refused(parts_.tree.find(dn)
                           ? refusal_of(ErrorCode::conflict, "there is an object with this id already", "/id")
                           : refusal_of(ErrorCode::invalid_argument, "this cannot be part of a name", "/id"));
    }
    return put(dn, named, caller);
}

WriteResult TreeManagement::merge_patch(const nrm::Dn& dn, const Json& patch_body, const std::string& caller) {
    if (auto wrong = check_envelope(dn, patch_body, false)) {
        return refused(*std::move(wrong));
    }
    WriteResult result;
    const auto done = parts_.tree.transact(Origin::consumer, [&](Transaction& transaction) -> Result<void> {
        const nrm::Object* current = transaction.find(dn);
        if (current == nullptr) {
            result.refusal = refusal_of(ErrorCode::not_found, "there is no object \"" + dn.text() + "\"");
            return Error{result.refusal.code, result.refusal.reason};
        }
        const nrm::Object before = *current;
        if (auto refusal = patch(transaction, before, patch_body)) {
            result.refusal = *std::move(refusal);
            return Error{result.refusal.code, result.refusal.reason};
        }
        const nrm::Object* stored = transaction.find(dn);
        result.answer.effect = stored->version == before.version ? Effect::unchanged : Effect::changed;
        result.answer.body = body_of(*stored);
        result.answer.dn = dn.text();
        return {};
    });
    result.ok = done.ok();
    if (!done && result.refusal.reason.empty()) {
        result.refusal = refusal_of(done.error());
    }
    audit("patch", dn.text(), caller, result);
    if (result.ok) {
        parts_.intake.changed();
    }
    return result;
}

WriteResult TreeManagement::remove(const nrm::Dn& dn, const std::string& caller) {
    WriteResult result;
    std::string artefact;
    const auto done = parts_.tree.transact(Origin::consumer, [&](Transaction& transaction) -> Result<void> {
        const nrm::Object* current = transaction.find(dn);
        Attempt refusal;
        if (current == nullptr) {
            refusal = refusal_of(ErrorCode::not_found, "there is no object \"" + dn.text() + "\"");
        } else {
            const nrm::Object before = *current;
            if (const nrm::Object* file = transaction.find(dn.child("VsDataContainer", "artefact"))) {
                artefact = file->attributes.value("vsData", Json::object()).value("sha256", "");
            }
            refusal = erase(transaction, before);
        }
        if (refusal) {
            result.refusal = *std::move(refusal);
            return Error{result.refusal.code, result.refusal.reason};
        }
        result.answer.effect = Effect::deleted;
        result.answer.dn = dn.text();
        return {};
    });
    result.ok = done.ok();
    if (!done && result.refusal.reason.empty()) {
        result.refusal = refusal_of(done.error());
    }
    audit("delete", dn.text(), caller, result);
    if (result.ok) {
        if (!artefact.empty()) {
            parts_.artefacts.remove(artefact);
        }
        parts_.intake.changed();
    }
    return result;
}

Result<std::vector<nrm::Object>> TreeManagement::read(const nrm::Dn& base, const nrm::Scope& scope) {
    return parts_.tree.read(base, scope);
}

TreeManagement::Attempt TreeManagement::check_place(const Transaction& transaction, const nrm::Dn& dn) {
    const auto row = nrm::class_of(dn.leaf().class_name);
    if (!row) {
        return refusal_of(row.error());
    }
    if (!(*row)->consumer_creates) {
        return refusal_of(ErrorCode::permission_denied,
                          fmt::format("only the producer itself creates a {}", (*row)->name),
                          "/objectClass");
    }
    if (dn.leaf().id.empty() || dn.leaf().id.size() > id_length_max) {
        return refusal_of(ErrorCode::invalid_argument, fmt::format("1 to {} characters", id_length_max), "/id");
    }
    if (dn.depth() < 2 || transaction.find(dn.parent()) == nullptr) {
        return refusal_of(ErrorCode::not_found,
                          fmt::format("there is no object \"{}\" to create it under",
                                      dn.depth() < 2 ? std::string{} : dn.parent().text()));
    }
    if (!nrm::contains(dn.parent().leaf().class_name, **row)) {
        return refusal_of(ErrorCode::invalid_argument,
                          fmt::format("a {} cannot be below a {}", (*row)->name, dn.parent().leaf().class_name),
                          "/objectClass");
    }
    return std::nullopt;
}

TreeManagement::Attempt TreeManagement::check_tombstone(const nrm::Dn& dn, const Json& attributes) {
    const auto tombstone = parts_.store.read(tombstone_kind, dn.text());
    if (!tombstone) {
        return std::nullopt;
    }
    const Json body = Json::parse(tombstone->body);
    const bool same = body.value("digest", "") == content_digest(attributes);
    const std::string report = body.value("report", "");
    Refusal refusal = refusal_of(
        ErrorCode::conflict,
        fmt::format("this id was used before, for {} content; {}",
                    same ? "the same" : "other",
                    report.empty() ? "there is no report, the request ended " + body.value("outcome", "without a model")
                                   : "its report is " + report),
        "/id");
    refusal.problems.front().nearest = report;
    return refusal;
}

Job TreeManagement::make_job(const nrm::Dn& dn,
                             const Json& attributes,
                             const Recipe& recipe,
                             const std::string& caller) {
    Job job;
    job.id = make_job_id(dn.leaf().id);
    job.request = dn.text();
    job.caller = caller;
    job.consumer = attributes.value("trainingRequestSource", "");
    job.inference = attributes.value("aIMLInferenceName", "");
    job.recipe = wire::to_json(recipe);
    job.recipe_digest = recipe.digest;
    job.submitted_ms = wall_ms(parts_.clock);
    job.events.push_back({job.submitted_ms, fmt::format("submitted by {}", caller)});
    return job;
}

TreeManagement::Creation
TreeManagement::create(Transaction& transaction, const nrm::Dn& dn, const Json& body, const std::string& caller) {
    if (auto refusal = check_place(transaction, dn)) {
        return {std::move(refusal)};
    }
    nrm::Problems problems;
    Json attributes = nrm::created(**nrm::class_of(dn.leaf().class_name), attributes_in(body), problems);
    const std::string& class_name = dn.leaf().class_name;
    if (!problems.empty()) {
        return {refusal_of(std::move(problems))};
    }
    std::optional<Job> job;
    if (class_name == "MLTrainingRequest") {
        if (auto refusal = check_tombstone(dn, attributes)) {
            return {std::move(refusal)};
        }
        const auto recipe = check_request(attributes, parts_.recipes, problems);
        if (!problems.empty()) {
            return {refusal_of(std::move(problems))};
        }
        if (parts_.intake.unfinished() >= parts_.settings.jobs_max) {
            return {
                refusal_of(ErrorCode::resource_exhausted,
                           fmt::format("{} requests are unfinished, which is the limit", parts_.settings.jobs_max))};
        }
        attributes["requestStatus"] = attributes.value("suspendRequest", false) ? "SUSPENDED" : "NOT_STARTED";
        job = make_job(dn, attributes, *recipe, caller);
        transaction.write(write_of(*job));
    } else if (class_name == "NtfSubscriptionControl") {
        check_subscription(attributes, parts_.settings.notification_recipients, problems);
        if (!problems.empty()) {
            return {refusal_of(std::move(problems))};
        }
    } else if (class_name == "VsDataContainer") {
        if (auto refusal = check_container(dn, attributes)) {
            return {std::move(refusal)};
        }
    }
    transaction.create(dn, std::move(attributes));
    return {std::nullopt, std::move(job)};
}

TreeManagement::Attempt
TreeManagement::replace(Transaction& transaction, const nrm::Object& current, const Json& body) {
    nrm::Problems problems;
    const auto row = nrm::class_of(current.dn.leaf().class_name);
    Json attributes = nrm::replaced(**row, current.attributes, attributes_in(body), problems);
    return problems.empty() ? change(transaction, current, std::move(attributes)) : refusal_of(std::move(problems));
}

TreeManagement::Attempt TreeManagement::patch(Transaction& transaction, const nrm::Object& current, const Json& body) {
    nrm::Problems problems;
    const auto row = nrm::class_of(current.dn.leaf().class_name);
    Json attributes = nrm::merged(**row, current.attributes, attributes_in(body), problems);
    return problems.empty() ? change(transaction, current, std::move(attributes)) : refusal_of(std::move(problems));
}

TreeManagement::Attempt TreeManagement::change(Transaction& transaction, const nrm::Object& current, Json attributes) {
    if (attributes == current.attributes) {
        return std::nullopt;
    }
    const std::string& class_name = current.dn.leaf().class_name;
    nrm::Problems problems;
    Attempt refusal;
    if (class_name == "MLTrainingRequest") {
        const nrm::Object* process = transaction.find(beside(current.dn, "MLTrainingProcess"));
        refusal = change_request(current.attributes, attributes, process != nullptr, is_running(process));
        constexpr auto sources = "candidateTrainingDataSource";
        if (!refusal && attributes.value(sources, Json{}) != current.attributes.value(sources, Json{})) {
            refusal = refusal_of(ErrorCode::conflict,
                                 "the data source was resolved when the request was created; make a new request",
                                 std::string{"/attributes/"} + sources);
        }
        if (!refusal && content_digest(attributes) != content_digest(current.attributes)) {
            Json checked = attributes;
            checked.erase("cancelRequest"); // allowed here, unlike in a new request
            (void)check_request(checked, parts_.recipes, problems);
        }
    } else if (class_name == "MLTrainingProcess") {
        refusal = change_process(current.attributes, attributes);
    } else if (class_name == "NtfSubscriptionControl") {
        check_subscription(attributes, parts_.settings.notification_recipients, problems);
    } else if (class_name == "VsDataContainer") {
        refusal = check_container(current.dn, attributes);
    }
    if (!problems.empty()) {
        refusal = refusal_of(std::move(problems));
    }
    if (!refusal) {
        transaction.update(current.dn, std::move(attributes));
    }
    return refusal;
}

TreeManagement::Attempt TreeManagement::erase(Transaction& transaction, const nrm::Object& current) {
    const nrm::Dn& dn = current.dn;
    const std::string& class_name = dn.leaf().class_name;
    const auto row = nrm::class_of(class_name);
    if (!row || !(*row)->consumer_deletes) {
        return refusal_of(ErrorCode::permission_denied,
                          fmt::format("only the producer itself deletes a {}", class_name));
    }
    if (class_name == "VsDataContainer") {
        if (auto refusal = check_container(dn, current.attributes)) {
            return refusal;
        }
    }
    const nrm::Dn artefact = dn.child("VsDataContainer", "artefact");
    for (const nrm::Dn& child : transaction.below(dn)) {
        if (class_name != "MLModel" || child != artefact) {
            return refusal_of(ErrorCode::conflict, fmt::format("it has children: delete {} first", child.text()));
        }
    }
    if (class_name == "MLModel" && transaction.find(artefact) == nullptr) {
        return refusal_of(ErrorCode::conflict, "this model is still being trained; cancel its request first");
    }
    if (class_name == "MLTrainingRequest") {
        const std::string status = current.attributes.value("requestStatus", "");
        const bool begun = transaction.find(beside(dn, "MLTrainingProcess")) != nullptr;
        const bool over = status == "FINISHED" || status == "CANCELLED";
        if (begun && !over) {
            return refusal_of(ErrorCode::conflict, fmt::format("the request is {}: cancel it first", status));
        }
        const nrm::Dn report = beside(dn, "MLTrainingReport");
        transaction.write(tombstone_of(current,
                                       transaction.find(report) != nullptr ? report.text() : "",
                                       over ? status : "deleted before it began"));
    }
    transaction.remove(dn);
    return std::nullopt;
}

void TreeManagement::audit(const char* operation,
                           const std::string& dn,
                           const std::string& caller,
                           const WriteResult& result) {
    constexpr std::array<const char*, 4> effects{"created", "changed", "unchanged", "deleted"};
    const char* outcome = result.ok ? effects.at(static_cast<std::size_t>(result.answer.effect)) : "refused";
    log::info("audit {} operation={} {} outcome={}{}",
              log::field("caller", caller),
              operation,
              log::field("object", dn),
              outcome,
              result.ok ? "" : " " + log::field("reason", result.refusal.reason));
}

} // namespace muster::producer
