#include "function/active_job.h"

#include "base/digest.h"
#include "base/log.h"
#include "base/overloaded.h"
#include "function/commit_check.h"
#include "tls/identity.h"
#include "wire/messages.h"
#include "wire/recipe.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>

namespace muster::function {

namespace {

/// Whether scores of a kind of rows would be made of fewer than `least`.
bool has_few_rows(const Prepared& prepared, std::int64_t least) {
    const auto few = [least](std::int64_t rows) { return rows > 0 && rows < least; };
    return prepared.training_rows < least || few(prepared.validation_rows) || few(prepared.matrix.test_rows);
}

} // namespace

void send_to_producer(ProducerLink& producer, const FromFunction& message) {
    if (auto sent = producer.send(message); !sent) {
        log::error("message to the producer is lost type={} {}",
                   wire::type_of(message),
                   log::field("reason", sent.error().text()));
    }
}

ActiveJob::ActiveJob(JobParts parts, AcceptedJob accepted, SteadyTime lease_until)
    : parts_{std::move(parts)}, accepted_{std::move(accepted)}, lease_until_{lease_until} {}

ActiveJob::ActiveJob(JobParts parts, const JobRecord& record, std::unique_ptr<WorkerProcess> worker, SteadyTime now)
    : parts_{std::move(parts)}, worker_{std::move(worker)},
      committed_{record.committed}, ended_{record.done.has_value()}, generation_{record.generation}, taken_over_{true},
      lease_seconds_{record.lease_seconds}, done_{record.done}, running_{record.state != "committed"},
      state_{record.state} {
    accepted_.proposal.job = record.job;
    lease_until_ = now + (running_ ? parts_.settings.orphan_time : std::chrono::seconds{record.lease_seconds});
}

bool ActiveJob::can_go_on(const JobRecord& record) {
    const bool trains = record.state == "committed" || record.state == "running";
    return record.committed && (trains || (record.done && (record.state == "uploading" || record.state == "done")));
}

void ActiveJob::send(const FromFunction& message) {
    send_to_producer(parts_.world.producer, message);
}

void ActiveJob::on_news(JobNews& news) {
    std::visit(Overloaded{[&](FromWorker& message) { from_worker(message); },
                          [&](const WorkerExit& exit) { worker_exit(exit); },
                          [&](Result<DataProgram::Encoded>& result) { encoded(result); },
                          [&](Result<TableStatistics>& result) { gathered(result); },
                          [&](Uploaded& upload) { uploaded(upload); },
                          [&](Fetched& program) { fetched(program); },
                          [&](const TakenOver& /*first*/) { go_on(); }},
               news);
}

void ActiveJob::go_on() {
    if (state_ == "uploading") {
        parts_.upload(*done_, worker_->model_file());
    } else if (state_ == "done") {
        finish(*done_);
    }
}

void ActiveJob::repeat_accept() {
    if (taken_over_) {
        send(Refuse{.job = id(), .code = "busy", .words = "this job was agreed on before the function's restart"});
        return;
    }
    send(accepted_.accept);
}

void ActiveJob::prepare(const Prepare& order) {
    if (taken_over_) {
        return; // a late copy: it was answered before the signature
    }
    if (prepared_) {
        send(*prepared_);
        return;
    }
    if (!recipe_.empty()) {
        if (pinned() && !ended_) {
            prepare_pinned(order);
        }
        return; // under way
    }
    if (!accepted_.proposal.recipe.ends_with("@" + sha256_hex(order.recipe))) {
        fail("the recipe is not the one that was proposed");
        return;
    }
    if (order.data.has_value() != accepted_.proposal.sources.empty()) {
        fail(order.data ? "the preparation describes data that the proposal says is here"
                        : "the proposal names no data and the preparation describes none");
        return;
    }
    if (order.preprocessing) {
        fail("the preparation brings a preprocessing, but nothing was gathered here");
        return;
    }
    recipe_ = order.recipe;
    elsewhere_ = order.data;
    state_ = "preparing";
    const auto recipe = wire::recipe_from_json(nlohmann::json::parse(recipe_, nullptr, false));
    if (pinned()) {
        if (auto fits = recipe ? check_pinned(*recipe) : Result<void>{}; !fits) {
            fail("recipe: " + fits.error().text());
            return;
        }
        gather();
        return;
    }
    if (!recipe || !recipe->model.archive) {
        encode(); // whoever reads the data says what is wrong with the recipe
        return;
    }
    archive_ = recipe->model.archive;
    if (!parts_.settings.policy.users_models) { // whatever kind of model was proposed
        fail(users_models_refused);
        return;
    }
    parts_.fetch(id(), *archive_);
}

void ActiveJob::fetched(Fetched& fetched) {
    if (ended_) {
        return;
    }
    if (!fetched.program) {
        fail("model: " + fetched.program.error().text() + culprit());
        return;
    }
    program_ = std::move(*fetched.program);
    encode();
}

/// Names the model, where it is a user's, behind what may be its fault.
std::string ActiveJob::culprit() const {
    constexpr std::size_t digits = 12;
    return archive_ ? " (the model is the archive " + archive_->sha256.substr(0, digits) + ")" : std::string{};
}

/// What the second preparation of pinned rows brings, or the first one again.
void ActiveJob::prepare_pinned(const Prepare& order) {
    if (order.recipe != recipe_) {
        fail("the recipe is not the one that was proposed");
    } else if (!order.preprocessing) {
        if (gathered_) {
            send(*gathered_);
        }
    } else if (!gathered_) {
        fail("the preparation brings a preprocessing, but nothing was gathered here");
    } else if (!preprocessing_) {
        preprocessing_ = order.preprocessing;
        state_ = "preparing";
        encode();
    }
}

Result<DataProgram::Order> ActiveJob::data_order() const {
    std::vector<std::filesystem::path> files;
    for (const std::string& name : accepted_.proposal.sources) {
        auto file = parts_.file_of(name);
        if (!file) {
            return std::move(file).error();
        }
        files.push_back(std::move(*file));
    }
    const auto test = files.size() > 1 ? std::optional{files[1]} : std::nullopt;
    return DataProgram::Order{.recipe = recipe_,
                              .train = files.front(),
                              .test = test,
                              .memory_bytes = accepted_.limits.memory_bytes,
                              .preprocessing = preprocessing_};
}

void ActiveJob::gather() {
    const auto order = data_order();
    if (!order) {
        fail(order.error().text());
        return;
    }
    state_ = "gathering";
    parts_.world.data.gather(*order,
                             parts_.settings.policy.group_rows_min,
                             Deadline::after(parts_.settings.encode_timeout),
                             [post = parts_.post, job = id()](auto result) { post(job, std::move(result)); });
}

void ActiveJob::gathered(Result<TableStatistics>& result) {
    if (ended_) {
        return;
    }
    if (!result) {
        fail(words_of(result.error()));
        return;
    }
    gathered_ = Gathered{.job = id(), .statistics = std::move(*result)};
    state_ = "gathered";
    log::info("statistics of {} rows leave this function, none of fewer than {} job={}",
              gathered_->statistics.rows,
              parts_.settings.policy.group_rows_min,
              id());
    if (auto sent = parts_.world.producer.send(*gathered_); !sent) { // too many columns for one message, say
        fail("data: its statistics cannot be sent: " + sent.error().text());
    }
}

/// What others are told of data that cannot be read. Of rows that stay here nothing is quoted.
std::string ActiveJob::words_of(const Error& error) const {
    if (!pinned()) {
        return "data: " + error.text();
    }
    log::error("data cannot be used job={} {}", id(), log::field("reason", error.text()));
    return fmt::format("data: {}: it cannot be used; why stands in this function's log, for its rows stay here",
                       error.where.empty() ? accepted_.proposal.sources.front() : error.where);
}

void ActiveJob::encode() {
    if (elsewhere_) {
        start_worker({});
        return;
    }
    const auto order = data_order();
    if (!order) {
        fail(order.error().text());
        return;
    }
    parts_.world.data.encode(*order,
                             Deadline::after(parts_.settings.encode_timeout),
                             [post = parts_.post, job = id()](auto result) { post(job, std::move(result)); });
}

void ActiveJob::encoded(Result<DataProgram::Encoded>& result) {
    if (!result) {
        fail(words_of(result.error()));
        return;
    }
    encoded_ = std::move(*result);
    start_worker(encoded_->folder);
}

void ActiveJob::start_worker(const std::filesystem::path& matrix) {
    WorkerLimits limits{.cpu_cores = accepted_.limits.cpu_cores,
                        .memory_bytes = accepted_.limits.memory_bytes,
                        .lease_seconds = parts_.settings.worker_lease.count(),
                        .program = program_.get(),
                        .program_seconds = parts_.settings.program_time.count()};
    if (elsewhere_ && accepted_.proposal.receives_rows) {
        auto landing = parts_.landing(elsewhere_->matrix);
        if (!landing) {
            fail("data: " + landing.error().text());
            return;
        }
        limits.landing = std::move(*landing);
    }
    auto worker = parts_.world.launcher.start(id(), matrix, limits, *accepted_.listener, parts_.events);
    if (!worker) {
        fail("worker: " + worker.error().text());
        return;
    }
    worker_ = std::move(*worker);
    program_.reset(); // the worker has it
    // A quota below one core is not seen by thread pools: the count is said explicitly.
    const int threads = std::max(1, static_cast<int>(accepted_.limits.cpu_cores));
    const WorkerPrepare order{.job = id(), .recipe = recipe_, .data = elsewhere_, .threads = threads};
    if (auto sent = worker_->send(order); !sent) {
        fail("worker: " + sent.error().text());
    }
}

void ActiveJob::calibrate(const Calibrate& order) {
    if (taken_over_) {
        return; // as above
    }
    if (!worker_) {
        send(Refuse{.job = order.job, .code = "unknown_job", .words = "not prepared"});
        return;
    }
    if (calibrated_) {
        send(*calibrated_);
        return;
    }
    const auto self = std::ranges::find(order.roster.members, parts_.settings.dn, &RosterMember::dn);
    if (self == order.roster.members.end()) {
        fail("this function is not in the calibration roster");
        return;
    }
    state_ = "calibrating";
    const auto rank = static_cast<int>(self - order.roster.members.begin());
    if (auto sent = worker_->send(WorkerCalibrate{order, accepted_.key, rank}); !sent) {
        fail("worker: " + sent.error().text());
    }
}

void ActiveJob::commit(const Commit& order, SteadyTime now) {
    const auto refuse = [&](std::string code, std::string words) {
        send(Refuse{.job = order.job,
                    .generation = order.roster.generation,
                    .code = std::move(code),
                    .words = std::move(words)});
    };
    if (worker_ && committed_ && committed_->plan_digest == order.roster.plan_digest) {
        send(*committed_);
        return;
    }
    if (!worker_ || (!encoded_ && !elsewhere_)) {
        refuse("unknown_job",
               taken_over_ ? "the function was restarted and has the job's key no more" : "not prepared");
        return;
    }
    const OwnView own{.dn = parts_.settings.dn,
                      .proposal = accepted_.proposal,
                      .recipe = recipe_,
                      .matrix_digest = encoded_ ? encoded_->info.digest : std::string{},
                      .sources = parts_.sources(),
                      .job_key = accepted_.key,
                      .training_rows = prepared_ ? prepared_->training_rows : 0,
                      .described_digest = elsewhere_ ? elsewhere_->matrix.digest : std::string{}};
    auto rank = check_commit(order, own, parts_.settings.policy);
    if (!rank) {
        const ErrorCode code = rank.error().code;
        refuse(code == ErrorCode::permission_denied    ? "policy_peer"
               : code == ErrorCode::resource_exhausted ? "policy_rows"
                                                       : "bad_digest",
               rank.error().text());
        return;
    }
    const tls::KeyPair identity = parts_.world.identity();
    auto signature = tls::sign_message(identity.key, order.roster.plan_digest);
    if (!signature) {
        refuse("broken", signature.error().text());
        return;
    }
    if (auto sent =
            worker_->send(WorkerCommit{order, accepted_.key, *rank, parts_.settings.policy.ship_bytes_per_second_max});
        !sent) {
        fail("worker: " + sent.error().text());
        return;
    }
    generation_ = order.roster.generation;
    joined_ = false;
    start_wanted_ = false;
    state_ = "committed";
    lease_seconds_ = order.lease_seconds;
    lease_until_ = now + std::chrono::seconds{lease_seconds_};
    committed_ = Committed{.job = order.job,
                           .generation = generation_,
                           .plan_digest = order.roster.plan_digest,
                           .signature = to_base64(*signature),
                           .certificate = identity.certificate};
    log::info("signed job={} generation={} digest={}", order.job, generation_, order.roster.plan_digest);
    remember();
    send(*committed_);
}

void ActiveJob::start(const Start& order) {
    if (order.generation != generation_) {
        send(Refuse{.job = order.job,
                    .generation = order.generation,
                    .code = "unknown_job",
                    .words = "nothing was committed to"});
        return;
    }
    if (!joined_) {
        start_wanted_ = true;
        return;
    }
    if (running_ || ended_) {
        return;
    }
    running_ = true;
    state_ = "running";
    remember(); // before the order: a second one does no harm
    if (auto sent = worker_->send(WorkerStart{order.generation}); !sent) {
        fail("worker: " + sent.error().text());
    }
}

void ActiveJob::from_worker(FromWorker& message) {
    if (ended_) {
        return; // Done said again to a new connection, or what was under way when the job failed
    }
    if (taken_over_ && (std::holds_alternative<Prepared>(message) || std::holds_alternative<Calibrated>(message))) {
        return; // said again too; the commit that follows is with the worker
    }
    if (auto* prepared = std::get_if<Prepared>(&message)) {
        if (encoded_) {
            prepared->matrix = encoded_->info;
        }
        if (pinned() && has_few_rows(*prepared, parts_.settings.policy.group_rows_min)) {
            fail(fmt::format("data: of training, validation and test rows there must be none or at least {} of each "
                             "(policy.group_rows_min), and some of the first",
                             parts_.settings.policy.group_rows_min));
            return;
        }
        prepared_ = *prepared;
        state_ = "prepared";
        send(*prepared);
    } else if (auto* calibrated = std::get_if<Calibrated>(&message)) {
        calibrated_ = *calibrated;
        state_ = "calibrated";
        send(*calibrated);
    } else if (const auto* ready = std::get_if<WorkerJoined>(&message)) {
        joined(*ready);
    } else if (auto* progress = std::get_if<Progress>(&message)) {
        send(*progress);
    } else if (auto* finished = std::get_if<Done>(&message)) {
        done(std::move(*finished));
    } else if (auto* failed = std::get_if<Failed>(&message)) {
        fail(failed->reason + culprit());
    }
}

void ActiveJob::joined(const WorkerJoined& message) {
    if (message.generation != generation_) {
        return;
    }
    joined_ = true;
    if (start_wanted_) {
        start(Start{id(), generation_});
    } else if (running_) { // to a former agent's order this may be a copy, which the worker ignores
        if (auto sent = worker_->send(WorkerStart{generation_}); !sent) {
            fail("worker: " + sent.error().text());
        }
    }
}

void ActiveJob::worker_exit(const WorkerExit& exit) {
    if (!ended_) {
        fail("worker ended: " + exit.reason + culprit());
    }
}

void ActiveJob::done(Done message) {
    ended_ = true;
    done_ = message;
    if (message.model_sha256.empty()) {
        finish(std::move(message));
        return;
    }
    state_ = "uploading";
    remember();
    parts_.upload(std::move(message), worker_->model_file());
}

void ActiveJob::uploaded(Uploaded& upload) {
    if (state_ != "uploading") {
        return;
    }
    if (!upload.result) {
        fail("the model could not be uploaded: " + upload.result.error().text());
        return;
    }
    finish(std::move(upload.done));
}

void ActiveJob::finish(Done message) {
    ended_ = true;
    state_ = "done";
    outcome_ = message;
    remember();
    send(std::move(message));
}

void ActiveJob::fail(const std::string& reason) {
    log::error("job failed job={} {}", id(), log::field("reason", reason));
    state_ = "failed";
    ended_ = true;
    outcome_ = Failed{.job = id(), .generation = generation_, .reason = reason};
    worker_.reset();
    send(*outcome_);
}

/// Without its record the job goes on all the same; only a restarted agent could not take it over.
void ActiveJob::remember() {
    const JobRecord record{.job = id(),
                           .generation = generation_,
                           .epoch = parts_.world.epoch ? parts_.world.epoch() : 0,
                           .lease_seconds = lease_seconds_,
                           .state = state_,
                           .committed = committed_,
                           .done = done_};
    if (auto kept = worker_->remember(record); !kept) {
        log::warning(
            "the job's record cannot be kept, free disk space: it will end if this agent is restarted job={} {}",
            id(),
            log::field("reason", kept.error().text()));
    }
}

void ActiveJob::orphaned(const std::string& reason, SteadyTime now) {
    if (running_) {
        lease_until_ = std::max(lease_until_, now + parts_.settings.orphan_time);
        log::warning("producer is gone, the job goes on for {} s job={} {}",
                     parts_.settings.orphan_time.count(),
                     id(),
                     log::field("reason", reason));
    }
}

void ActiveJob::repeat_outcome() {
    if (outcome_) {
        send(*outcome_);
    }
}

void ActiveJob::report_expiry() {
    if (state_ != "failed") {
        send(Failed{.job = id(), .generation = generation_, .reason = "the lease ran out"});
    }
}

void ActiveJob::feed_worker(SteadyTime now) {
    if (!worker_ || now < worker_lease_due_) {
        return;
    }
    worker_lease_due_ = now + parts_.settings.worker_lease / 3;
    if (auto sent = worker_->send(WorkerLease{parts_.settings.worker_lease.count()}); !sent) {
        log::warning("worker does not take its lease, it will end by itself job={}", id());
    }
}

} // namespace muster::function
