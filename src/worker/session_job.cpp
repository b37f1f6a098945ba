#include "worker/session_job.h"

#include "base/log.h"
#include "process_group/backend.h"
#include "worker/calibration.h"
#include "worker/program.h"
#include "worker/session_inputs.h"
#include "worker/session_rows.h"
#include "worker/session_training.h"
#include "worker/tree_calibration.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <new>
#include <optional>
#include <stop_token>
#include <thread>

namespace muster::worker {

namespace {

/// The order in which a generation's states follow one another.
enum class Phase { none, joining, joined, training, done };

collective::GroupSpec make_spec(const std::string& certificate,
                                const std::string& authority,
                                const Secret& key,
                                const Roster& roster,
                                int rank,
                                Duration operation_timeout) {
    collective::GroupSpec spec;
    spec.job = roster.job;
    spec.generation = roster.generation;
    spec.plan_digest = roster.plan_digest;
    spec.rank = rank;
    for (const auto& member : roster.members) {
        spec.members.push_back({member.dn, member.identity, member.addresses});
    }
    spec.credentials = {{certificate, key}, authority};
    spec.operation_timeout = operation_timeout;
    spec.on_refusal = [job = roster.job](const std::string& sentence) {
        log::warning("a connection was refused, check who it was job={} {}", job, log::field("reason", sentence));
    };
    spec.on_warning = [job = roster.job](const std::string& sentence) {
        log::warning("a job certificate needs renewal job={} {}", job, log::field("reason", sentence));
    };
    return spec;
}

} // namespace

class SessionJob::State {
public:
    State(const SessionData& data,
          SessionJobSettings settings,
          collective::Dialer& dialer,
          std::function<void(FromWorker)> report)
        : given_{data}, settings_{settings}, dialer_{dialer}, report_{std::move(report)}, thread_{[this] { run(); }} {}

    ~State() {
        stop("the worker ends");
        {
            const std::scoped_lock lock{mutex_};
            closed_ = true;
            wake_.notify_one();
        }
        thread_.join();
    }

    void push(std::function<void()> order) {
        const std::scoped_lock lock{mutex_};
        orders_.push_back(std::move(order));
        wake_.notify_one();
    }

    void stop(const std::string& reason) {
        const std::scoped_lock lock{mutex_};
        stop_.request_stop();
        stopped_ = true;
        abort_locked(reason);
    }

    [[nodiscard]] bool overrun() const { return watch_.overdue(settings_.program_time); }

    [[nodiscard]] bool busy() {
        const std::scoped_lock lock{mutex_};
        return working_ || !orders_.empty();
    }

    // ---- the rest of the public part runs on the job's thread ----

    void prepare(const WorkerPrepare& order) {
        if (inputs_) {
            report_(inputs_->prepared);
            return;
        }
        job_ = order.job;
        auto inputs = JobInputs::open(given_, settings_, order, watch_);
        if (!inputs) {
            return fail(inputs.error().message);
        }
        inputs_ = std::move(*inputs);
        report_(inputs_->prepared);
    }

    void calibrate(const WorkerCalibrate& order) {
        if (!inputs_) {
            return fail("calibrate came before prepare");
        }
        if (calibrated_ && calibrated_roster_ == order.order.roster) {
            report_(*calibrated_);
            return;
        }
        const auto& wanted = order.order;
        auto joined = join(wanted.certificate, wanted.authority, order.key, wanted.roster, order.rank);
        if (!joined) {
            return fail("calibration: " + joined.error().text());
        }
        Calibration calibration;
        if (wanted.measure_steps) {
            auto measured = measure(wanted.batches);
            if (!measured) {
                return fail("calibration: " + measured.error().text());
            }
            calibration = std::move(*measured);
        } else {
            calibration.parameter_bytes = inputs_->prepared.parameters * number_bytes(inputs_->recipe);
        }
        measure_link(*joined, calibration);
        joined->reset();
        leave();
        calibrated_roster_ = wanted.roster;
        calibrated_ = Calibrated{job_, std::move(calibration)};
        report_(*calibrated_);
    }

    void commit(const WorkerCommit& order) {
        if (!inputs_) {
            return fail("commit came before prepare");
        }
        const auto generation = order.order.roster.generation;
        if (generation < committed_.order.roster.generation) {
            log::warning("an order of an old generation was ignored, look for two producers job={} generation={}",
                         job_,
                         generation);
            return;
        }
        if (generation == committed_.order.roster.generation && phase_ != Phase::none) {
            if (phase_ == Phase::joined) {
                report_(WorkerJoined{generation});
            }
            return;
        }
        committed_ = order;
        phase_ = Phase::joining;
        group_.reset();
        leave();
        auto joined = join(order.order.certificate, order.order.authority, order.key, order.order.roster, order.rank);
        if (!joined) {
            return fail("join: " + joined.error().text());
        }
        group_ = std::move(*joined);
        phase_ = Phase::joined;
        log::info("joined job={} generation={} rank={} members={}",
                  job_,
                  generation,
                  order.rank,
                  order.order.roster.members.size());
        report_(WorkerJoined{generation});
    }

    void start(const WorkerStart& order, SteadyTime arrived) {
        if (order.generation != committed_.order.roster.generation || phase_ != Phase::joined) {
            return; // a second copy, or of another generation
        }
        phase_ = Phase::training;
        const auto shipments = exchange_rows();
        if (!shipments) {
            return fail("shipping: " + shipments.error().text());
        }
        TrainingOrder training = training_order(arrived);
        group_.reset(); // the order has it
        const std::shared_ptr<collective::Group> transport = current_transport();
        auto done = train_and_export(
            inputs_->recipe,
            inputs_->data().preprocessing,
            inputs_->data().matrices,
            std::move(training),
            {.output = settings_.output,
             .weights = settings_.weights,
             .user_model = inputs_->user_model.get(),
             .device = inputs_->device},
            [this] { leave(); },
            transport.get(),
            &trees_);
        if (!done) {
            return fail(done.error().text());
        }
        done->job = job_;
        done->generation = order.generation;
        done->shipments = *shipments;
        done->peak_memory_bytes = peak_memory_bytes(inputs_->device);
        phase_ = Phase::done;
        log::info("trained job={} generation={} steps={} seconds={:.3f} parameters={}",
                  job_,
                  order.generation,
                  done->steps,
                  done->seconds,
                  done->parameters_digest);
        report_(std::move(*done));
    }

    /// Called by any thread when a commit arrives: what runs for a lower generation ends now, and its failure is not
    /// the job's.
    void announce(std::int64_t generation) {
        const std::scoped_lock lock{mutex_};
        if (newest_generation_ > 0 && generation > newest_generation_) {
            stop_.request_stop();
            abort_locked("generation " + std::to_string(generation) + " begins");
        }
        newest_generation_ = std::max(newest_generation_, generation);
    }

private:
    /// Brings the rows to where they are not, in a generation whose roster says so.
    Result<std::vector<Shipment>> exchange_rows() {
        const Roster& roster = committed_.order.roster;
        const auto transport = current_transport();
        if (!ships_rows(roster) || !transport) {
            return std::vector<Shipment>{};
        }
        const RowsOrder order{
            .bytes_per_second_max = committed_.ship_bytes_per_second_max,
            .on_arrival = [this, generation = roster.generation](std::int64_t arrived, std::int64_t expected) {
                report_(Progress{.job = job_,
                                 .generation = generation,
                                 .rows_arrived_bytes = arrived,
                                 .rows_expected_bytes = expected});
            }};
        auto& landing = inputs_->landing;
        auto shipments =
            worker::exchange_rows(*transport, roster, inputs_->data(), landing ? &*landing : nullptr, order);
        if (shipments && landing && landing->verified()) {
            auto arrived = landed(*landing, *inputs_->described);
            if (!arrived) {
                return std::move(arrived).error();
            }
            inputs_->elsewhere = std::move(*arrived);
        }
        return shipments;
    }

    Result<Calibration> measure(const std::vector<std::int64_t>& batches) {
        const SessionData& data = inputs_->data();
        if (has_trees(inputs_->recipe)) {
            return measure_trees(inputs_->recipe, data.preprocessing, data.matrices.train, batches, inputs_->threads);
        }
        return measure_steps(inputs_->recipe,
                             data.preprocessing,
                             data.matrices.train,
                             batches,
                             {.user_model = inputs_->user_model.get(),
                              .memory_bytes_max = settings_.memory_bytes_max,
                              .device = inputs_->device});
    }

    TrainingOrder training_order(SteadyTime arrived) {
        TrainingOrder order;
        order.group = group_;
        const Roster& roster = committed_.order.roster;
        for (const auto& member : roster.members) {
            order.batch_rows.push_back(member.batch_rows);
            order.state_shares.push_back(member.state_share);
            if (roster.micro_rows > 0) {
                order.stages.push_back(member.stage);
            }
        }
        order.micro_rows = roster.micro_rows;
        order.layout = roster.layout;
        order.requirements = committed_.order.requirements;
        order.progress = [this, generation = committed_.order.roster.generation](const Progress& progress) {
            auto named = progress;
            named.job = job_;
            named.generation = generation;
            report_(std::move(named));
        };
        {
            const std::scoped_lock lock{mutex_};
            stop_ = std::stop_source{};
            if (outdated_locked(committed_.order.roster.generation)) {
                stop_.request_stop();
            }
            order.stop = stop_.get_token();
            if (transport_) {
                order.bytes_sent = [transport = transport_] { return transport->traffic().bytes_sent; };
            }
        }
        order.started = arrived;
        return order;
    }

    /// Connects the members; null for one alone.
    Result<c10::intrusive_ptr<c10d::ProcessGroup>> join(const std::string& certificate,
                                                        const std::string& authority,
                                                        const Secret& key,
                                                        const Roster& roster,
                                                        int rank) {
        if (rank < 0 || static_cast<std::size_t>(rank) >= roster.members.size() || roster.job != job_) {
            return Error{ErrorCode::invalid_argument, "the roster has no rank " + std::to_string(rank) + " of " + job_};
        }
        if (roster.members.size() == 1) {
            return c10::intrusive_ptr<c10d::ProcessGroup>{};
        }
        auto group = collective::Group::connect(
            make_spec(certificate, authority, key, roster, rank, settings_.operation_timeout),
            settings_.peer_listener,
            dialer_,
            Deadline::after(settings_.join_wait_max));
        if (!group) {
            return std::move(group).error();
        }
        std::shared_ptr<collective::Group> shared{std::move(*group)};
        {
            const std::scoped_lock lock{mutex_};
            transport_ = shared;
            if (outdated_locked(roster.generation)) {
                shared->abort("the worker was stopped");
            }
        }
        return process_group::make_process_group(std::move(shared), inputs_->device.type());
    }

    std::shared_ptr<collective::Group> current_transport() {
        const std::scoped_lock lock{mutex_};
        return transport_;
    }

    void leave() {
        const std::scoped_lock lock{mutex_};
        transport_.reset();
    }

    void abort_locked(const std::string& reason) {
        if (transport_) {
            transport_->abort(reason);
        }
    }

    /// Whether the generation's end was asked for. Calibration (0) ends with the job only.
    [[nodiscard]] bool outdated_locked(std::int64_t generation) const {
        return stopped_ || (generation > 0 && generation < newest_generation_);
    }

    void fail(const std::string& reason) {
        {
            const std::scoped_lock lock{mutex_};
            // Or the others would wait for this member until their time limit. What a user's program says is not
            // passed on: they look for names in it.
            abort_locked(reason.starts_with("model: ") ? "its model failed" : reason);
            transport_.reset();
            if (outdated_locked(committed_.order.roster.generation)) {
                log::info("ended as asked job={} {}", job_, log::field("reason", reason));
                return;
            }
        }
        log::error("job failed job={} generation={} {}",
                   job_,
                   committed_.order.roster.generation,
                   log::field("reason", reason));
        report_(Failed{job_, committed_.order.roster.generation, reason});
    }

    void run() {
        while (true) {
            std::function<void()> order;
            {
                std::unique_lock lock{mutex_};
                // Waits for an order; the destructor ends it.
                wake_.wait(lock, [this] { return closed_ || !orders_.empty(); });
                if (closed_) {
                    return;
                }
                order = std::move(orders_.front());
                orders_.pop_front();
                working_ = true;
            }
            step(order);
            const std::scoped_lock lock{mutex_};
            working_ = false;
        }
    }

    /// The boundary of a worker's step: whatever is thrown in it becomes the job's failure.
    void step(const std::function<void()>& order) {
        try {
            order();
        } catch (const std::bad_alloc&) {
            fail("out of memory: the job needs more than this worker's memory limit");
        } catch (const c10::Error& error) {
            fail(error.what_without_backtrace());
        } catch (const std::exception& error) {
            fail(error.what());
        } catch (...) {
            fail("an unknown kind of exception ended the step");
        }
    }

    const SessionData& given_;
    SessionJobSettings settings_;
    collective::Dialer& dialer_;
    std::function<void(FromWorker)> report_;

    // Of the job's thread alone.
    std::string job_;
    std::unique_ptr<JobInputs> inputs_; ///< once prepared
    std::optional<Calibrated> calibrated_;
    Roster calibrated_roster_;
    WorkerCommit committed_;
    Phase phase_{Phase::none};
    c10::intrusive_ptr<c10d::ProcessGroup> group_;
    TreeProgress trees_; ///< of an earlier generation of a job of boosted trees

    // Shared.
    RunWatch watch_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<std::function<void()>> orders_;
    std::shared_ptr<collective::Group> transport_; ///< of the generation that is under way
    std::stop_source stop_;
    std::int64_t newest_generation_{0};
    bool working_{false};
    bool stopped_{false};
    bool closed_{false};
    std::thread thread_; // last: it uses all of the above
};

SessionJob::SessionJob(const SessionData& data,
                       SessionJobSettings settings,
                       collective::Dialer& dialer,
                       std::function<void(FromWorker)> report)
    : state_{std::make_unique<State>(data, settings, dialer, std::move(report))} {}

SessionJob::~SessionJob() = default;

void SessionJob::prepare(WorkerPrepare order) {
    state_->push([state = state_.get(), order = std::move(order)] { state->prepare(order); });
}

void SessionJob::calibrate(WorkerCalibrate order) {
    state_->push([state = state_.get(), order = std::move(order)] { state->calibrate(order); });
}

void SessionJob::commit(WorkerCommit order) {
    state_->announce(order.order.roster.generation);
    state_->push([state = state_.get(), order = std::move(order)] { state->commit(order); });
}

void SessionJob::start(const WorkerStart& order) {
    state_->push(
        [state = state_.get(), order, arrived = std::chrono::steady_clock::now()] { state->start(order, arrived); });
}

void SessionJob::stop(const std::string& reason) {
    state_->stop(reason);
}

bool SessionJob::overrun() const {
    return state_->overrun();
}

bool SessionJob::busy() const {
    return state_->busy();
}

} // namespace muster::worker
