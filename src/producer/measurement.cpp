#include "producer/measurement.h"

#include "producer/candidates.h"
#include "producer/records.h"
#include "wire/recipe.h"

#include <fmt/format.h>

namespace muster::producer {
namespace {

/// Rows of a step; REQUIRES: somebody has prepared, and the recipe was read before.
std::int64_t batch_of(const LiveJob& job) {
    const auto recipe = wire::recipe_from_json(job.record.recipe);
    return recipe ? steps_of(*recipe, job.round.answers.begin()->second.prepared.training_rows).batch : 1;
}

} // namespace

bool Measurement::begin(LiveJob& job) {
    return use_known_measurements(job) ? rounds_.enter(job, Phase::deciding, milliseconds{0}) : calibrate(job);
}

void Measurement::on_calibrated(LiveJob& job, const std::string& dn, const Calibrated& calibrated) {
    const auto found = job.round.answers.find(dn);
    if (job.record.phase != Phase::calibrating || found == job.round.answers.end() ||
        found->second.state != Answer::State::prepared) {
        return;
    }
    Answer& answer = found->second;
    const Calibration& reported = calibrated.calibration;
    if (!answer.measured || answer.measure_steps) {
        answer.measured = Measured{reported, shape_of(answer.prepared)};
    }
    answer.measured->calibration.latency_seconds = reported.latency_seconds;
    answer.measured->calibration.bytes_per_second = reported.bytes_per_second;
    answer.measured->calibration.link_cpu_seconds_per_byte = reported.link_cpu_seconds_per_byte;
    answer.state = Answer::State::calibrated;
    const auto line = answer.measured->calibration.fit();
    desk_.note(
        job.record,
        fmt::format(
            "{} is measured: {:.1f} us a row, {:.1f} ms a step besides", dn, line.per_row * 1e6, line.fixed * 1e3));
}

/// Fills in what the store knows; true when nothing is left to measure.
bool Measurement::use_known_measurements(LiveJob& job) const {
    const std::vector<std::string> group = names_in(job.round);
    bool complete = true;
    for (auto& [dn, answer] : job.round.answers) {
        answer.measured = desk_.calibrations.find(job.record.recipe_digest, dn, answer.accept.cpu_cores);
        answer.measure_steps = !answer.measured;
        const auto link = group.size() > 1 ? desk_.calibrations.find_link(dn, group) : LinkMeasured{};
        complete = complete && answer.measured && link;
        if (answer.measured && link) {
            answer.measured->calibration.latency_seconds = link->latency_seconds;
            answer.measured->calibration.bytes_per_second = link->bytes_per_second;
            answer.measured->calibration.link_cpu_seconds_per_byte = link->cpu_seconds_per_byte;
        }
    }
    return complete;
}

bool Measurement::calibrate(LiveJob& job) {
    for (const std::string& dn : names_in(job.round)) {
        if (!job.round.answers.at(dn).accept.may_calibrate) {
            rounds_.drop(
                job, dn, {"not_calibrated", "its policy does not permit to measure it, and it was never measured"});
        }
    }
    if (job.round.answers.empty()) {
        rounds_.next_round(job, {}, "nobody may be measured");
        return true;
    }
    Roster roster{.job = job.record.wire_id(), .generation = 0};
    std::map<std::string, std::string> certificates;
    for (const std::string& dn : names_in(job.round)) {
        auto certificate = desk_.job_certificate(job, dn);
        if (!certificate) {
            rounds_.drop(job, dn, {"broken", "its certificate request is wrong: " + certificate.error().text()});
            continue;
        }
        certificates[dn] = *std::move(certificate);
        roster.members.push_back({.dn = dn,
                                  .identity = tls::job_uri(job.record.wire_id(), dn),
                                  .addresses = job.round.answers.at(dn).accept.addresses});
    }
    if (roster.members.empty() || !rounds_.enter(job, Phase::calibrating, desk_.settings.calibrate_wait)) {
        return false;
    }
    const auto batches = batches_to_time(batch_of(job));
    for (const auto& [dn, certificate] : certificates) {
        const Calibrate message{.job = job.record.wire_id(),
                                .certificate = certificate,
                                .authority = desk_.job_authority.certificate(),
                                .roster = roster,
                                .batches = batches,
                                .measure_steps = job.round.answers.at(dn).measure_steps};
        if (auto sent = desk_.send(dn, message); !sent) {
            rounds_.drop(job, dn, {"unreachable", sent.error().text()});
            return true; // the round is over
        }
    }
    return true;
}

bool Measurement::step(LiveJob& job) {
    if (!job.round.failures.empty()) {
        return rounds_.settle(job);
    }
    if (!all_reached(job.round, Answer::State::calibrated)) {
        if (desk_.now() < job.round.deadline) {
            return false;
        }
        std::map<std::string, Exclusion> silent;
        for (const auto& [dn, answer] : job.round.answers) {
            if (answer.state < Answer::State::calibrated) {
                silent[dn] = {"silent", "could not be measured in time"};
            }
        }
        rounds_.next_round(job, silent, fmt::format("{} functions could not be measured in time", silent.size()));
        return true;
    }
    const std::vector<std::string> group = names_in(job.round);
    std::vector<Write> writes;
    for (const auto& [dn, answer] : job.round.answers) {
        if (answer.measure_steps) {
            writes.push_back(
                Calibrations::write_of(job.record.recipe_digest, dn, answer.accept.cpu_cores, *answer.measured));
        }
        if (group.size() > 1) {
            const Calibration& seen = answer.measured->calibration;
            writes.push_back(Calibrations::write_of_link(
                dn, group, {seen.latency_seconds, seen.bytes_per_second, seen.link_cpu_seconds_per_byte}));
        }
    }
    Job updated = job.record;
    updated.enter(Phase::deciding);
    return desk_
        .save(job,
              std::move(updated),
              [&](Transaction& transaction) -> Result<void> {
                  for (Write& write : writes) {
                      transaction.write(std::move(write));
                  }
                  desk_.stage_progress(transaction, job, progress_status("NOT_STARTED", 0, "DECIDING", ""));
                  return {};
              })
        .ok();
}

} // namespace muster::producer
