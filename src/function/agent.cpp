#include "function/agent.h"

#include "base/digest.h"
#include "base/log.h"
#include "base/overloaded.h"
#include "function/commit_check.h"
#include "tls/identity.h"
#include "wire/messages.h"

#include <algorithm>

namespace muster::function {
namespace {

/// More events than this are a flood: the job is given up rather than memory.
constexpr std::size_t inbox_max = 10'000;

} // namespace

/// The job that this function is in.
struct Agent::Job {
    Propose proposal;
    Limits limits;
    Secret key;
    Accept accept; ///< as sent, to answer a repeated proposal
    std::unique_ptr<PeerListener> listener;
    std::unique_ptr<WorkerProcess> worker; // after the listener: it borrows it
    std::string recipe;
    std::optional<DataProgram::Encoded> encoded;
    std::optional<Prepared> prepared;
    std::optional<Calibrated> calibrated;
    std::optional<Committed> committed;
    std::optional<FromFunction> outcome; ///< Done or Failed as sent; sent again after a reconnection
    bool ended{false};                   ///< done or failed: the worker's own end is not another failure
    std::int64_t generation{};
    bool joined{false};
    bool start_wanted{false};
    bool running{false};
    std::string state{"accepted"};
    SteadyTime lease_until{};
    SteadyTime worker_lease_due{};
};

Agent::Agent(AgentSettings settings, Catalogue catalogue, World world)
    : settings_{std::move(settings)}, world_{std::move(world)}, catalogue_{std::move(catalogue)} {
    publish_state();
}

Agent::~Agent() = default;

Hello Agent::make_hello() {
    publish_state();
    return public_.with([&](const Public& state) {
        return Hello{.dn = settings_.dn,
                     .version = settings_.version,
                     .capacity = world_.capacity(),
                     .sources = state.sources,
                     .inference_names = settings_.policy.inferences,
                     .jobs = state.jobs,
                     .busy = !state.jobs.empty()};
    });
}

Heartbeat Agent::make_heartbeat() {
    return {.capacity = world_.capacity(), .jobs = public_.with([](const Public& state) { return state.jobs; })};
}

void Agent::publish_state() {
    auto sources = catalogue_.with([](Catalogue& catalogue) {
        catalogue.refresh();
        for (const std::string& name : catalogue.missing()) {
            log::warning("data source cannot be read, check its path {}", log::field("source", name));
        }
        return catalogue.sources();
    });
    public_.with([&](Public& state) { state.sources = std::move(sources); });
}

std::vector<HeldJob> Agent::held_jobs() const {
    if (!job_) {
        return {};
    }
    return {{.job = job_->proposal.job, .generation = job_->generation, .state = job_->state}};
}

void Agent::queue(Event event) {
    {
        const std::scoped_lock lock{inbox_mutex_};
        if (inbox_.size() >= inbox_max) {
            log::warning("inbox full, a message is dropped; is this machine overloaded?");
            return;
        }
        inbox_.push_back(std::move(event));
    }
    inbox_ready_.notify_one();
}

void Agent::on_message(ToFunction message) {
    queue(std::move(message));
}
void Agent::on_disconnected(const std::string& reason) {
    queue(Disconnected{reason});
}
void Agent::on_worker_message(const std::string& job, FromWorker message) {
    queue(FromWorkerOf{job, std::move(message)});
}
void Agent::on_worker_exit(const std::string& job, const std::string& reason) {
    queue(WorkerExit{job, reason});
}

void Agent::step(SteadyTime now) {
    std::deque<Event> events;
    {
        const std::scoped_lock lock{inbox_mutex_};
        events.swap(inbox_);
    }
    for (Event& event : events) {
        handle(event, now);
    }
    expire(now);
    public_.with([&](Public& state) { state.jobs = held_jobs(); });
}

void Agent::run(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
        {
            std::unique_lock lock{inbox_mutex_};
            inbox_ready_.wait_for(lock, stop, std::chrono::milliseconds{200}, [&] { return !inbox_.empty(); });
        }
        step(world_.clock.steady_now());
    }
    if (job_) {
        release(job_->proposal.job, "the function is shutting down");
    }
}

void Agent::handle(Event& event, SteadyTime now) {
    std::visit(Overloaded{[&](ToFunction& order) { handle_order(order, now); },
                          [&](FromWorkerOf& message) { from_worker(message); },
                          [&](const WorkerExit& exit) {
                              if (holds(exit.job) && !job_->ended) {
                                  fail("worker ended: " + exit.reason);
                              }
                          },
                          [&](Encoded& data) { encoded(data); },
                          [&](Uploaded& upload) { uploaded(upload); },
                          [&](const Disconnected& gone) { disconnected(gone.reason, now); }},
               event);
}

void Agent::handle_order(const ToFunction& message, SteadyTime now) {
    std::visit(Overloaded{[&](const Welcome& /*after a reconnection*/) {
                              if (job_ && job_->outcome) {
                                  send(*job_->outcome);
                              }
                          },
                          [&](const Propose& order) { propose(order, now); },
                          [&](const Prepare& order) { prepare(order); },
                          [&](const Calibrate& order) { calibrate(order); },
                          [&](const Commit& order) { commit(order, now); },
                          [&](const Start& order) { start(order); },
                          [&](const Release& order) { release(order.job, order.reason); },
                          [&](const KeepAlive& order) {
                              if (job_ && std::ranges::find(order.jobs, job_->proposal.job) != order.jobs.end()) {
                                  job_->lease_until = now + std::chrono::seconds{order.lease_seconds};
                              }
                          }},
               message);
}

void Agent::uploaded(Uploaded& event) {
    if (!holds(event.done.job)) {
        return;
    }
    if (!event.result) {
        fail("the model could not be uploaded: " + event.result.error().text());
        return;
    }
    finish(std::move(event.done));
}

void Agent::finish(Done message) {
    job_->ended = true;
    job_->state = "done";
    job_->outcome = message;
    send(std::move(message));
}

void Agent::disconnected(const std::string& reason, SteadyTime now) {
    if (job_ && job_->running) {
        job_->lease_until = std::max(job_->lease_until, now + settings_.orphan_time);
        log::warning("producer is gone, the job goes on for {} s job={} {}",
                     settings_.orphan_time.count(),
                     job_->proposal.job,
                     log::field("reason", reason));
    }
}

bool Agent::holds(const std::string& job) const {
    return job_ && job_->proposal.job == job;
}

void Agent::send(const FromFunction& message) {
    if (auto sent = world_.producer.send(message); !sent) {
        log::error("message to the producer is lost type={} {}",
                   wire::type_of(message),
                   log::field("reason", sent.error().text()));
    }
}

void Agent::propose(const Propose& order, SteadyTime now) {
    if (holds(order.job)) {
        send(job_->accept);
        return;
    }
    publish_state();
    const auto sources = public_.with([](const Public& state) { return state.sources; });
    const auto busy = job_ ? std::optional{job_->proposal.job} : std::nullopt;
    auto judged = judge(settings_.policy, order, world_.capacity(), sources, busy, world_.clock.wall_now());
    if (const auto* refusal = std::get_if<Refuse>(&judged)) {
        log::info("refused job={} code={} {}", order.job, refusal->code, log::field("words", refusal->words));
        send(*refusal);
        return;
    }
    const auto limits = std::get<Limits>(judged);
    auto listener = world_.launcher.listen(order.job);
    Secret key = tls::make_key();
    auto request = tls::make_request(key, tls::job_uri(order.job, settings_.dn));
    if (!listener || !request) {
        const std::string reason = !listener ? listener.error().text() : request.error().text();
        send(Refuse{.job = order.job, .code = "broken", .words = reason, .retry_after_seconds = 60});
        return;
    }
    const std::int64_t lease = std::min(order.lease_seconds, settings_.policy.lease_seconds_max);
    Accept accept{.job = order.job,
                  .lease_seconds = lease,
                  .cpu_cores = limits.cpu_cores,
                  .memory_bytes = limits.memory_bytes,
                  .csr = std::move(*request),
                  .addresses = (*listener)->addresses()};
    for (const std::string& name : order.sources) {
        accept.sources.push_back(*std::ranges::find(sources, name, &DataSource::name));
    }
    job_ = std::make_unique<Job>();
    job_->proposal = order;
    job_->limits = limits;
    job_->key = std::move(key);
    job_->listener = std::move(*listener);
    job_->accept = accept;
    job_->lease_until = now + std::chrono::seconds{lease};
    log::info("accepted job={} consumer={} cores={:.2f}", order.job, order.consumer, limits.cpu_cores);
    if (limits.smaller_than_asked) {
        send(Counter{.offer = std::move(accept), .words = "local policy gives less than was asked"});
    } else {
        send(std::move(accept));
    }
}

void Agent::prepare(const Prepare& order) {
    if (!holds(order.job)) {
        send(Refuse{.job = order.job, .code = "unknown_job", .words = "no lease for this job"});
        return;
    }
    if (job_->prepared) {
        send(*job_->prepared);
        return;
    }
    if (!job_->recipe.empty()) {
        return; // under way
    }
    if (!job_->proposal.recipe.ends_with("@" + sha256_hex(order.recipe))) {
        fail("the recipe is not the one that was proposed");
        return;
    }
    job_->recipe = order.recipe;
    job_->state = "preparing";
    std::vector<std::filesystem::path> files;
    for (const std::string& name : job_->proposal.sources) {
        auto file = catalogue_.with([&](const Catalogue& catalogue) { return catalogue.file_of(name); });
        if (!file) {
            fail(file.error().text());
            return;
        }
        files.push_back(std::move(*file));
    }
    const auto test = files.size() > 1 ? std::optional{files[1]} : std::nullopt;
    world_.data.encode(order.recipe,
                       files.front(),
                       test,
                       Deadline::after(settings_.encode_timeout),
                       [this, job = order.job](auto result) {
                           queue(Encoded{job, std::move(result)});
                       });
}

void Agent::encoded(Encoded& event) {
    if (!holds(event.job)) {
        return;
    }
    if (!event.result) {
        fail("data: " + event.result.error().text());
        return;
    }
    job_->encoded = std::move(*event.result);
    const WorkerLimits limits{.cpu_cores = job_->limits.cpu_cores,
                              .memory_bytes = job_->limits.memory_bytes,
                              .lease_seconds = settings_.worker_lease.count()};
    auto worker = world_.launcher.start(event.job, job_->encoded->folder, limits, *job_->listener, *this);
    if (!worker) {
        fail("worker: " + worker.error().text());
        return;
    }
    job_->worker = std::move(*worker);
    // A quota below one core is not seen by thread pools: the count is said explicitly.
    const int threads = std::max(1, static_cast<int>(job_->limits.cpu_cores));
    const WorkerPrepare order{
        .job = event.job, .recipe = job_->recipe, .matrix = job_->encoded->folder, .threads = threads};
    if (auto sent = job_->worker->send(order); !sent) {
        fail("worker: " + sent.error().text());
    }
}

void Agent::calibrate(const Calibrate& order) {
    if (!holds(order.job) || !job_->worker) {
        send(Refuse{.job = order.job, .code = "unknown_job", .words = "not prepared"});
        return;
    }
    if (job_->calibrated) {
        send(*job_->calibrated);
        return;
    }
    const auto self = std::ranges::find(order.roster.members, settings_.dn, &RosterMember::dn);
    if (self == order.roster.members.end()) {
        fail("this function is not in the calibration roster");
        return;
    }
    job_->state = "calibrating";
    const auto rank = static_cast<int>(self - order.roster.members.begin());
    if (auto sent = job_->worker->send(WorkerCalibrate{order, job_->key, rank}); !sent) {
        fail("worker: " + sent.error().text());
    }
}

void Agent::commit(const Commit& order, SteadyTime now) {
    const auto refuse = [&](std::string code, std::string words) {
        send(Refuse{.job = order.job,
                    .generation = order.roster.generation,
                    .code = std::move(code),
                    .words = std::move(words)});
    };
    if (!holds(order.job) || !job_->worker || !job_->encoded) {
        refuse("unknown_job", "not prepared");
        return;
    }
    if (job_->committed && job_->committed->plan_digest == order.roster.plan_digest) {
        send(*job_->committed);
        return;
    }
    const OwnView own{.dn = settings_.dn,
                      .proposal = job_->proposal,
                      .recipe = job_->recipe,
                      .matrix_digest = job_->encoded->info.digest,
                      .sources = public_.with([](const Public& state) { return state.sources; }),
                      .job_key = job_->key};
    auto rank = check_commit(order, own, settings_.policy);
    if (!rank) {
        refuse(rank.error().code == ErrorCode::permission_denied ? "policy_peer" : "bad_digest", rank.error().text());
        return;
    }
    const tls::KeyPair identity = world_.identity();
    auto signature = tls::sign_message(identity.key, order.roster.plan_digest);
    if (!signature) {
        refuse("broken", signature.error().text());
        return;
    }
    if (auto sent = job_->worker->send(WorkerCommit{order, job_->key, *rank}); !sent) {
        fail("worker: " + sent.error().text());
        return;
    }
    job_->generation = order.roster.generation;
    job_->joined = false;
    job_->start_wanted = false;
    job_->state = "committed";
    job_->lease_until = now + std::chrono::seconds{order.lease_seconds};
    job_->committed = Committed{.job = order.job,
                                .generation = job_->generation,
                                .plan_digest = order.roster.plan_digest,
                                .signature = to_base64(*signature),
                                .certificate = identity.certificate};
    log::info("signed job={} generation={} digest={}", order.job, job_->generation, order.roster.plan_digest);
    send(*job_->committed);
}

void Agent::start(const Start& order) {
    if (!holds(order.job) || order.generation != job_->generation) {
        send(Refuse{.job = order.job,
                    .generation = order.generation,
                    .code = "unknown_job",
                    .words = "nothing was committed to"});
        return;
    }
    if (!job_->joined) {
        job_->start_wanted = true;
        return;
    }
    if (job_->running) {
        return;
    }
    job_->running = true;
    job_->state = "running";
    if (auto sent = job_->worker->send(WorkerStart{order.generation}); !sent) {
        fail("worker: " + sent.error().text());
    }
}

void Agent::from_worker(FromWorkerOf& event) {
    if (!holds(event.job)) {
        return;
    }
    if (auto* prepared = std::get_if<Prepared>(&event.message)) {
        prepared->matrix = job_->encoded->info;
        job_->prepared = *prepared;
        job_->state = "prepared";
        send(*prepared);
    } else if (auto* calibrated = std::get_if<Calibrated>(&event.message)) {
        job_->calibrated = *calibrated;
        job_->state = "calibrated";
        send(*calibrated);
    } else if (const auto* joined = std::get_if<WorkerJoined>(&event.message)) {
        if (joined->generation == job_->generation) {
            job_->joined = true;
            if (job_->start_wanted) {
                start(Start{event.job, job_->generation});
            }
        }
    } else if (auto* progress = std::get_if<Progress>(&event.message)) {
        send(*progress);
    } else if (auto* finished = std::get_if<Done>(&event.message)) {
        done(std::move(*finished));
    } else if (auto* failed = std::get_if<Failed>(&event.message)) {
        fail(failed->reason);
    }
}

void Agent::done(Done message) {
    job_->ended = true;
    if (message.model_sha256.empty()) {
        finish(std::move(message));
        return;
    }
    job_->state = "uploading";
    uploader_ = std::jthread{[this, message = std::move(message), file = job_->worker->model_file()]() mutable {
        auto result = world_.producer.upload(file, message.model_sha256, Deadline::after(settings_.upload_timeout));
        queue(Uploaded{std::move(message), std::move(result)});
    }};
}

void Agent::fail(const std::string& reason) {
    log::error("job failed job={} {}", job_->proposal.job, log::field("reason", reason));
    job_->state = "failed";
    job_->ended = true;
    job_->outcome = Failed{.job = job_->proposal.job, .generation = job_->generation, .reason = reason};
    job_->worker.reset();
    send(*job_->outcome);
}

void Agent::release(std::string job, const std::string& reason) {
    if (holds(job)) {
        log::info("released job={} {}", job, log::field("reason", reason));
        job_.reset();
    }
    send(Released{std::move(job)});
}

void Agent::expire(SteadyTime now) {
    if (!job_) {
        return;
    }
    if (now >= job_->lease_until) {
        if (job_->state != "failed") {
            send(Failed{.job = job_->proposal.job, .generation = job_->generation, .reason = "the lease ran out"});
        }
        release(job_->proposal.job, "the lease ran out");
        return;
    }
    if (job_->worker && now >= job_->worker_lease_due) {
        job_->worker_lease_due = now + settings_.worker_lease / 3;
        if (auto sent = job_->worker->send(WorkerLease{settings_.worker_lease.count()}); !sent) {
            log::warning("worker does not take its lease, it will end by itself job={}", job_->proposal.job);
        }
    }
}

} // namespace muster::function
