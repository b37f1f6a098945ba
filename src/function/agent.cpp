#include "function/agent.h"

#include "base/log.h"
#include "base/overloaded.h"
#include "function/program_download.h"
#include "tls/identity.h"

#include <algorithm>

namespace muster::function {
namespace {

/// More events than this are a flood: the job is given up rather than memory.
constexpr std::size_t inbox_max = 10'000;

/// The answer to an order within a job that this function is not in.
template <typename Order>
Refuse unknown(const Order& order, std::int64_t generation, std::string_view words) {
    return {.job = order.job, .generation = generation, .code = "unknown_job", .words = std::string{words}};
}

} // namespace

Agent::Agent(AgentSettings settings, Catalogue catalogue, World world)
    : settings_{std::move(settings)}, world_{std::move(world)},
      rows_{settings_.arrivals, settings_.policy.received_bytes_max}, catalogue_{std::move(catalogue)} {
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
    return job_ ? std::vector{job_->held()} : std::vector<HeldJob>{};
}

std::vector<DataSource> Agent::sources() {
    return public_.with([](const Public& state) { return state.sources; });
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
    queue(NewsOf{job, std::move(message)});
}
void Agent::on_worker_exit(const std::string& job, const std::string& reason) {
    queue(NewsOf{job, WorkerExit{reason}});
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
        release(job_->id(), "the function is shutting down", false, world_.clock.steady_now());
    }
}

void Agent::handle(Event& event, SteadyTime now) {
    std::visit(Overloaded{[&](ToFunction& order) { handle_order(order, now); },
                          [&](NewsOf& of) {
                              if (holds(of.job)) {
                                  job_->on_news(of.news);
                              }
                          },
                          [&](const Disconnected& gone) {
                              if (job_) {
                                  job_->orphaned(gone.reason, now);
                              }
                          },
                          [&](const FromFunction& message) { send(message); }},
               event);
}

void Agent::handle_order(const ToFunction& message, SteadyTime now) {
    std::visit(Overloaded{[&](const Welcome& /*after a reconnection*/) {
                              if (job_) {
                                  job_->repeat_outcome();
                              }
                          },
                          [&](const Propose& order) { propose(order, now); },
                          [&](const Prepare& order) {
                              holds(order.job) ? job_->prepare(order)
                                               : send(unknown(order, 0, "no lease for this job"));
                          },
                          [&](const Calibrate& order) {
                              holds(order.job) ? job_->calibrate(order) : send(unknown(order, 0, "not prepared"));
                          },
                          [&](const Commit& order) {
                              holds(order.job) ? job_->commit(order, now)
                                               : send(unknown(order, order.roster.generation, "not prepared"));
                          },
                          [&](const Start& order) {
                              holds(order.job) ? job_->start(order)
                                               : send(unknown(order, order.generation, "nothing was committed to"));
                          },
                          [&](const Release& order) { release(order.job, order.reason, order.keep_rows, now); },
                          [&](const KeepAlive& order) {
                              if (job_ && std::ranges::find(order.jobs, job_->id()) != order.jobs.end()) {
                                  job_->keep_alive(now + std::chrono::seconds{order.lease_seconds});
                              }
                          }},
               message);
}

bool Agent::holds(const std::string& job) const {
    return job_ && job_->id() == job;
}

void Agent::send(const FromFunction& message) {
    send_to_producer(world_.producer, message);
}

JobParts Agent::parts() {
    return {.settings = settings_,
            .world = world_,
            .events = *this,
            .file_of =
                [this](const std::string& name) {
                    return catalogue_.with([&](const Catalogue& catalogue) { return catalogue.file_of(name); });
                },
            .sources = [this] { return sources(); },
            .landing = [this](const MatrixInfo& info) { return rows_.files_for(info); },
            .post =
                [this](const std::string& job, JobNews news) {
                    queue(NewsOf{job, std::move(news)});
                },
            .upload = [this](Done done, std::filesystem::path file) { upload(std::move(done), std::move(file)); },
            .fetch = [this](const std::string& job, const ModelArchive& archive) { fetch(job, archive); }};
}

void Agent::fetch(const std::string& job, const ModelArchive& archive) {
    fetcher_ = std::jthread{[this, job, archive] {
        const ProgramDownload wanted{.sha256 = archive.sha256,
                                     .bytes = archive.bytes,
                                     .bytes_max = settings_.program_bytes_max,
                                     .folder = settings_.downloads};
        queue(NewsOf{job,
                     Fetched{download_program(world_.producer, wanted, Deadline::after(settings_.download_timeout))}});
    }};
}

void Agent::upload(Done done, std::filesystem::path file) {
    uploader_ = std::jthread{[this, done = std::move(done), file = std::move(file)]() mutable {
        auto result = world_.producer.upload(file, done.model_sha256, Deadline::after(settings_.upload_timeout));
        const std::string job = done.job;
        queue(NewsOf{job, Uploaded{std::move(done), std::move(result)}});
    }};
}

void Agent::propose(const Propose& order, SteadyTime now) {
    if (holds(order.job)) {
        job_->repeat_accept();
        return;
    }
    publish_state();
    const auto own = sources();
    const auto busy = job_ ? std::optional{job_->id()} : std::nullopt;
    auto judged = judge(settings_.policy, order, world_.capacity(), own, busy, world_.clock.wall_now());
    if (const auto* refusal = std::get_if<Refuse>(&judged)) {
        log::info("refused job={} code={} {}", order.job, refusal->code, log::field("words", refusal->words));
        send(*refusal);
        return;
    }
    const auto limits = std::get<Limits>(judged);
    auto made = make_job(order, limits, own);
    if (!made) {
        send(Refuse{.job = order.job, .code = "broken", .words = made.error().text(), .retry_after_seconds = 60});
        return;
    }
    const Accept accept = made->accept;
    job_ = std::make_unique<ActiveJob>(parts(), std::move(*made), now + std::chrono::seconds{accept.lease_seconds});
    log::info("accepted job={} consumer={} cores={:.2f}", order.job, order.consumer, limits.cpu_cores);
    if (limits.smaller_than_asked) {
        send(Counter{.offer = accept, .words = "local policy gives less than was asked"});
    } else {
        send(accept);
    }
}

Result<AcceptedJob>
Agent::make_job(const Propose& order, const Limits& limits, const std::vector<DataSource>& sources) {
    auto listener = world_.launcher.listen(order.job);
    if (!listener) {
        return std::move(listener).error();
    }
    Secret key = tls::make_key();
    auto request = tls::make_request(key, tls::job_uri(order.job, settings_.dn));
    if (!request) {
        return std::move(request).error();
    }
    Accept accept{.job = order.job,
                  .lease_seconds = std::min(order.lease_seconds, settings_.policy.lease_seconds_max),
                  .cpu_cores = limits.cpu_cores,
                  .memory_bytes = limits.memory_bytes,
                  .csr = std::move(*request),
                  .addresses = (*listener)->addresses(),
                  .ship_bytes_per_second_max = settings_.policy.ship_bytes_per_second_max};
    for (const std::string& name : order.sources) {
        accept.sources.push_back(*std::ranges::find(sources, name, &DataSource::name));
    }
    return AcceptedJob{.proposal = order,
                       .limits = limits,
                       .key = std::move(key),
                       .accept = std::move(accept),
                       .listener = std::move(*listener)};
}

void Agent::take_over(SteadyTime now) {
    for (const LeftJob& left : world_.launcher.left()) {
        auto worker = world_.launcher.take_over(left.job, *this);
        const std::int64_t generation = left.record ? left.record->generation : 0;
        epoch_left_ = std::max(epoch_left_, left.record ? left.record->epoch : 0);
        if (!job_ && left.record && ActiveJob::can_go_on(*left.record)) {
            log::info("goes on with a job job={} generation={} state={}", left.job, generation, left.record->state);
            job_ = std::make_unique<ActiveJob>(parts(), *left.record, std::move(worker), now);
            queue(NewsOf{left.job, TakenOver{}});
        } else {
            worker.reset();
            log::warning("a job of before the restart is ended job={}", left.job);
            queue(FromFunction{Failed{.job = left.job,
                                      .generation = generation,
                                      .reason = "the function was restarted and cannot go on with this job"}});
        }
    }
    public_.with([&](Public& state) { state.jobs = held_jobs(); });
}

void Agent::release(std::string job, const std::string& reason, bool keep_rows, SteadyTime now) {
    if (holds(job)) {
        log::info("released job={} {}", job, log::field("reason", reason));
        job_.reset();
        keep_rows ? rows_.keep(now + settings_.kept_rows_time) : rows_.drop();
    }
    send(Released{std::move(job)});
}

void Agent::expire(SteadyTime now) {
    rows_.drop_when_due(now);
    if (!job_) {
        return;
    }
    if (job_->expired(now)) {
        job_->report_expiry();
        release(job_->id(), "the lease ran out", true, now); // the producer may come back for another attempt
        return;
    }
    job_->feed_worker(now);
}

} // namespace muster::function
