#include "producer/desk.h"

#include "base/log.h"
#include "producer/managed_objects.h"
#include "producer/records.h"

namespace muster::producer {
namespace {

Desk::Order order_from(const nrm::Object* request, const nrm::Object* process) {
    const nrm::Json none = nrm::Json::object();
    const nrm::Json& asked = request == nullptr ? none : request->attributes;
    const nrm::Json& run = process == nullptr ? none : process->attributes;
    const std::string status = run.value("progressStatus", nrm::Json::object()).value("status", "");
    if (request == nullptr || asked.value("requestStatus", "") == "CANCELLING" || status == "CANCELLING") {
        return Desk::Order::cancel;
    }
    const bool held = asked.value("suspendRequest", false) || run.value("suspendProcess", false);
    return held ? Desk::Order::hold : Desk::Order::go;
}

} // namespace

std::int64_t Desk::wall_ms() const {
    return std::chrono::duration_cast<milliseconds>(clock.wall_now().time_since_epoch()).count();
}

Result<void> Desk::save(LiveJob& job, Job updated, const Stage& stage) {
    auto done = tree.transact(Origin::producer, [&](Transaction& transaction) -> Result<void> {
        if (stage) {
            if (auto staged = stage(transaction); !staged) {
                return staged;
            }
        }
        transaction.write(write_of(updated));
        return {};
    });
    if (done) {
        job.record = std::move(updated);
    }
    return done;
}

void Desk::note(Job& job, std::string event) const {
    log::info("job {} {}", log::field("id", job.id), log::field("event", event));
    job.events.push_back({wall_ms(), std::move(event)});
    if (job.events.size() > settings.events_max) {
        job.events.erase(job.events.begin());
    }
}

Result<std::string> Desk::job_certificate(const LiveJob& job, const std::string& dn) const {
    const tls::CertificateSpec spec{.uri = tls::job_uri(job.record.wire_id(), dn),
                                    .lifetime = settings.certificate_lifetime};
    return job_authority.sign(job.round.answers.at(dn).accept.csr, spec, clock.wall_now());
}

nrm::Dn Desk::request_of(const LiveJob& job) const {
    return nrm::Dn::parse(job.record.request).value();
}

nrm::Dn Desk::process_of(const LiveJob& job) const {
    return beside(request_of(job), "MLTrainingProcess");
}

nrm::Dn Desk::model_of(const LiveJob& job) const {
    return nrm::Dn::parse(settings.repository)->child("MLModel", job.record.id);
}

void Desk::stage_progress(Transaction& transaction, const LiveJob& job, nrm::Json progress) const {
    transaction.set(process_of(job), {{"progressStatus", std::move(progress)}});
}

void Desk::release_all(const LiveJob& job, const std::string& reason, bool keep_rows) {
    for (const std::string& dn : job.record.leases) {
        const auto state = fleet.find(dn);
        if (state && (state->job.empty() || state->job == job.record.wire_id()) && !state->releasing) {
            fleet.release(dn, job.record.wire_id(), reason, keep_rows);
        }
    }
}

Desk::Order Desk::order_of(const Transaction& transaction, const LiveJob& job) const {
    return order_from(transaction.find(request_of(job)), transaction.find(process_of(job)));
}

Desk::Order Desk::order_of(const LiveJob& job) const {
    const auto request = tree.find(request_of(job));
    const auto process = tree.find(process_of(job));
    return order_from(request ? &*request : nullptr, process ? &*process : nullptr);
}

} // namespace muster::producer
