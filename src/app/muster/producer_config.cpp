#include "app/muster/producer_config.h"

#include "nrm/dn.h"
#include "wire/document.h"

namespace muster::app {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::int64_t port_max = 65'535;
constexpr std::int64_t day_seconds = 86'400;
constexpr std::int64_t upload_chunk_bytes = 1LL << 20U; ///< what functions send of a model in one request

/// A duration given in whole seconds.
template <typename T>
void read_seconds(wire::Fields& fields, const std::string& name, T& value, std::int64_t low, std::int64_t high) {
    const auto fallback = std::chrono::duration_cast<seconds>(value).count();
    value = seconds{fields.integer(name, low, high, fallback)};
}

void read_listen(wire::Fields fields, rest::ServerSettings& server, wire::Fields& parent) {
    server.address = fields.text("address", server.address);
    server.port = static_cast<std::uint16_t>(fields.integer("port", 0, port_max, 8443));
    parent.absorb(std::move(fields));
}

std::optional<EnrolmentAuthority> enrolment_of(wire::Fields& parent, const fs::path& folder) {
    if (parent.raw("enrolment") == nullptr) {
        return std::nullopt;
    }
    wire::Fields fields = parent.child("enrolment");
    EnrolmentAuthority authority{.certificate = relative_to(folder, fields.text("certificate")),
                                 .key = relative_to(folder, fields.text("key"))};
    read_seconds(fields, "certificate_lifetime_seconds", authority.certificate_lifetime, 60, 825 * day_seconds);
    parent.absorb(std::move(fields));
    return authority;
}

void read_managed(wire::Fields fields, producer::Settings& settings, wire::Fields& parent) {
    settings.root = fields.text("root", settings.root);
    settings.own_function = fields.text("own_function", settings.own_function);
    settings.repository = fields.text("repository", settings.repository);
    for (const auto& [name, dn] : {std::pair{"root", settings.root},
                                   {"own_function", settings.own_function},
                                   {"repository", settings.repository}}) {
        if (auto parsed = nrm::Dn::parse(dn); !parsed) {
            fields.fail(name, parsed.error().text());
        }
    }
    parent.absorb(std::move(fields));
}

void read_priorities(wire::Fields fields, producer::Settings& settings, wire::Fields& parent) {
    constexpr std::int64_t priority_max = 65'535;
    settings.default_priority = static_cast<int>(fields.integer("default", 0, priority_max, settings.default_priority));
    wire::Fields sources = fields.child("by_source");
    for (const auto& [source, value] : sources.json().items()) {
        settings.priority_by_source[source] = static_cast<int>(sources.integer(source, 0, priority_max));
    }
    fields.absorb(std::move(sources));
    parent.absorb(std::move(fields));
}

void read_times(wire::Fields fields, producer::Settings& settings, wire::Fields& parent) {
    constexpr std::int64_t hour = 3'600;
    read_seconds(fields, "propose_wait_seconds", settings.propose_wait, 1, hour);
    read_seconds(fields, "prepare_wait_seconds", settings.prepare_wait, 1, day_seconds);
    read_seconds(fields, "calibrate_wait_seconds", settings.calibrate_wait, 1, day_seconds);
    read_seconds(fields, "commit_wait_seconds", settings.commit_wait, 1, hour);
    read_seconds(fields, "agreement_wait_max_seconds", settings.agreement_wait_max, 1, 30 * day_seconds);
    read_seconds(fields, "holder_wait_seconds", settings.holder_wait_max, 1, 30 * day_seconds);
    read_seconds(fields, "gather_wait_seconds", settings.gather_wait, 0, hour);
    read_seconds(fields, "lease_seconds", settings.lease, 10, hour);
    read_seconds(fields, "reconnect_wait_seconds", settings.reconnect_wait, 1, day_seconds);
    read_seconds(fields, "adopt_wait_seconds", settings.adopt_wait, 1, day_seconds);
    read_seconds(fields, "job_certificate_lifetime_seconds", settings.certificate_lifetime, 60, 7 * day_seconds);
    read_seconds(fields, "retention_seconds", settings.retention, 0, 365 * day_seconds);
    parent.absorb(std::move(fields));
}

void read_keep(wire::Fields fields, producer::Settings& settings, wire::Fields& parent) {
    constexpr std::int64_t days_usual = 90;
    settings.keep_finished_jobs = static_cast<std::size_t>(fields.integer("finished_jobs", 0, 1'000'000, 1'000));
    settings.keep_finished_jobs_for = std::chrono::seconds{fields.integer("days", 1, 36'500, days_usual) * day_seconds};
    parent.absorb(std::move(fields));
}

void read_limits(wire::Fields fields, ProducerConfig& config, wire::Fields& parent) {
    config.server.body_bytes_max =
        static_cast<std::size_t>(fields.integer("body_bytes_max", upload_chunk_bytes, 1LL << 30U, upload_chunk_bytes));
    config.server.connections_max = static_cast<std::size_t>(fields.integer("connections_max", 1, 1'000'000, 2'048));
    config.blob_bytes_max = static_cast<std::uint64_t>(fields.integer("blob_bytes_max", 1, 1LL << 50U, 16LL << 30U));
    config.program_bytes_max = fields.integer("program_bytes_max", 1, 1LL << 50U, config.program_bytes_max);
    config.settings.candidates_max = static_cast<std::size_t>(fields.integer("candidates_max", 1, 1'000, 16));
    config.settings.jobs_max = static_cast<std::size_t>(fields.integer("jobs_max", 1, 1'000'000, 1'000));
    parent.absorb(std::move(fields));
}

} // namespace

Result<ProducerConfig> read_producer_config(const fs::path& file) {
    auto document = wire::read_document(file);
    if (!document) {
        return std::move(document).error();
    }
    const fs::path folder = fs::absolute(file).parent_path();
    wire::Fields fields{document->value, "", &document->places};
    ProducerConfig config;
    read_listen(fields.child("listen"), config.server, fields);
    config.settings.public_url = fields.text("public_url", "");
    config.state = relative_to(folder, fields.text("state"));
    config.credentials = read_credential_files(fields, "credentials", folder);
    config.enrolment = enrolment_of(fields, folder);
    config.policy = relative_to(folder, fields.text("policy"));
    config.settings.notification_recipients = fields.texts("notification_recipients");
    config.settings.split_allowed_by_default = fields.boolean("split_allowed_by_default", true);
    config.settings.missing_rows = fields.choice<producer::MissingRows>(
        "missing_rows",
        {{"wait", producer::MissingRows::wait}, {"go_on", producer::MissingRows::go_on}},
        config.settings.missing_rows);
    read_managed(fields.child("managed"), config.settings, fields);
    read_priorities(fields.child("priority"), config.settings, fields);
    read_times(fields.child("times"), config.settings, fields);
    read_keep(fields.child("keep"), config.settings, fields);
    read_limits(fields.child("limits"), config, fields);
    const bool wildcard = config.server.address == "0.0.0.0" || config.server.address == "::";
    if (wildcard && config.settings.public_url.empty()) {
        fields.fail("public_url",
                    "is required when listen.address stands for every address: it starts the URIs of models");
    }
    if (auto done = fields.finish(); !done) {
        return std::move(done).error();
    }
    return config;
}

} // namespace muster::app
