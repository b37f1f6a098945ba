#include "app/muster/function_config.h"

#include "link/url.h"
#include "nrm/dn.h"
#include "wire/document.h"

namespace muster::app {
namespace {

namespace fs = std::filesystem;

constexpr double cores_max = 1024.0;
constexpr std::int64_t megabytes_max = 1LL << 40U;
constexpr std::int64_t megabyte = 1'000'000;
constexpr std::int64_t megabit_bytes = megabyte / 8;

function::Policy policy_of(wire::Fields fields, wire::Fields& parent) {
    function::Policy policy;
    const auto hours = fields.integers("hours", 0, 23, {0, 0});
    if (hours.size() == 2) {
        policy.hours = {static_cast<int>(hours[0]), static_cast<int>(hours[1])};
    } else {
        fields.fail("hours", "two hours of the day are expected: [from, to]");
    }
    policy.cpu_share_max = fields.real("cpu_share_max", 0.01, 1.0, policy.cpu_share_max);
    policy.memory_share_max = fields.real("memory_share_max", 0.01, 1.0, policy.memory_share_max);
    policy.consumers = fields.texts("consumers");
    policy.inferences = fields.texts("inference_names");
    policy.peers = fields.texts("peers");
    policy.users_models = fields.boolean("users_models", policy.users_models);
    policy.group_rows_min = fields.integer("group_rows_min", 1, 1'000'000'000, policy.group_rows_min);
    policy.ship_bytes_per_second_max = fields.integer("shipping_mbit_max", 0, 10'000'000, 0) * megabit_bytes;
    policy.received_bytes_max =
        fields.integer("received_mb_max", 0, megabytes_max, policy.received_bytes_max / megabyte) * megabyte;
    policy.lease_seconds_max = fields.integer("lease_seconds_max", 5, 86'400, policy.lease_seconds_max);
    parent.absorb(std::move(fields));
    return policy;
}

function::CapacityOverrides capacity_of(wire::Fields fields, wire::Fields& parent) {
    function::CapacityOverrides capacity;
    if (fields.has("cpu_cores")) {
        capacity.cpu_cores = fields.real("cpu_cores", 0.01, cores_max);
    }
    if (fields.has("memory_mb")) {
        capacity.memory_bytes = fields.integer("memory_mb", 1, megabytes_max) * megabyte;
    }
    if (fields.has("storage_mb")) {
        capacity.storage_bytes = fields.integer("storage_mb", 1, megabytes_max) * megabyte;
    }
    if (fields.has("gpus")) {
        capacity.gpu_count = static_cast<int>(fields.integer("gpus", 0, 1024));
    }
    if (fields.has("dpus")) {
        capacity.dpu_count = static_cast<int>(fields.integer("dpus", 0, 1024));
    }
    capacity.bandwidth_bits_per_second = fields.integer("bandwidth_mbit", 0, 10'000'000, 0) * megabyte;
    parent.absorb(std::move(fields));
    return capacity;
}

std::vector<RowGrant> grants_of(std::vector<wire::Fields> rows, wire::Fields& parent) {
    std::vector<RowGrant> grants;
    for (wire::Fields& row : rows) {
        grants.push_back({.to = row.text("to"), .consumer = row.text("consumer")});
        parent.absorb(std::move(row));
    }
    return grants;
}

std::vector<function::CatalogueEntry>
data_of(std::vector<wire::Fields> rows, const fs::path& folder, wire::Fields& parent) {
    std::vector<function::CatalogueEntry> entries;
    for (wire::Fields& row : rows) {
        function::CatalogueEntry entry{.name = row.text("name"),
                                       .file = relative_to(folder, row.text("file")),
                                       .may_leave = row.boolean("may_leave", false),
                                       .pinned = row.boolean("pinned", false)};
        entry.rows_may_leave = grants_of(row.children("rows_may_leave"), row);
        if (entry.pinned && (entry.may_leave || !entry.rows_may_leave.empty())) {
            row.fail(entry.may_leave ? "may_leave" : "rows_may_leave", "rows that are pinned stay here");
        }
        for (const auto& other : entries) {
            if (other.name == entry.name) {
                row.fail("name", "stands in the catalogue a second time");
            }
        }
        entries.push_back(std::move(entry));
        parent.absorb(std::move(row));
    }
    return entries;
}

void read_data_plane(wire::Fields fields, function::LauncherSettings& launcher, wire::Fields& parent) {
    launcher.data_host = fields.text("listen", launcher.data_host);
    const auto ports = fields.integers("ports", 0, 65'535, {0, 0});
    if (ports.size() == 2 && ports[0] <= ports[1]) {
        launcher.port_low = static_cast<std::uint16_t>(ports[0]);
        launcher.port_high = static_cast<std::uint16_t>(ports[1]);
    } else {
        fields.fail("ports", "a range is expected: [low, high]; [0, 0] takes any free port");
    }
    launcher.advertised_hosts = fields.texts("advertise");
    parent.absorb(std::move(fields));
}

/// Only the form: whether there is such a GPU is known to the worker.
bool is_device(const std::string& name) {
    const std::string prefix = "cuda:";
    const std::string number = name.starts_with(prefix) ? name.substr(prefix.size()) : "";
    return name == "cpu" || name == "cuda" ||
           (!number.empty() && number.size() <= 2 && number.find_first_not_of("0123456789") == std::string::npos);
}

void read_device(wire::Fields& fields, function::LauncherSettings& launcher) {
    launcher.device = fields.text("device", launcher.device);
    if (!is_device(launcher.device)) {
        fields.fail("device",
                    "\"" + launcher.device + "\" is no device (allowed: cpu, cuda, cuda:0, cuda:1 and so on)");
    }
}

void read_isolation(wire::Fields fields, function::LauncherSettings& launcher, wire::Fields& parent) {
    launcher.limit_by_cgroup = fields.boolean("cgroup", launcher.limit_by_cgroup);
    launcher.allow_missing_isolation = fields.texts("allow_missing");
    for (const std::string& part : launcher.allow_missing_isolation) {
        if (part != "landlock" && part != "seccomp") {
            fields.fail("allow_missing", "\"" + part + "\" is no part of the isolation (allowed: landlock, seccomp)");
        }
    }
    parent.absorb(std::move(fields));
}

void read_cache(wire::Fields fields, function::DataSettings& matrices, wire::Fields& parent) {
    matrices.cache_bytes_max = fields.integer("bytes_max", 0, 1LL << 50U, matrices.cache_bytes_max);
    parent.absorb(std::move(fields));
}

std::optional<EnrolmentSource> enrolment_of(wire::Fields& parent) {
    if (!parent.has("enrolment")) {
        (void)parent.raw("enrolment");
        return std::nullopt;
    }
    wire::Fields fields = parent.child("enrolment");
    EnrolmentSource source{.token = Secret{fields.text("token")},
                           .authority_fingerprint = fields.text("authority_fingerprint")};
    parent.absorb(std::move(fields));
    return source;
}

void read_times(wire::Fields fields, function::AgentSettings& agent, wire::Fields& parent) {
    agent.encode_timeout =
        std::chrono::seconds{fields.integer("encode_timeout_seconds", 1, 86'400, agent.encode_timeout.count())};
    agent.upload_timeout =
        std::chrono::seconds{fields.integer("upload_timeout_seconds", 1, 86'400, agent.upload_timeout.count())};
    agent.download_timeout =
        std::chrono::seconds{fields.integer("download_timeout_seconds", 1, 86'400, agent.download_timeout.count())};
    agent.program_time =
        std::chrono::seconds{fields.integer("program_run_seconds", 1, 86'400, agent.program_time.count())};
    agent.orphan_time = std::chrono::seconds{fields.integer("orphan_seconds", 1, 604'800, agent.orphan_time.count())};
    agent.kept_rows_time =
        std::chrono::seconds{fields.integer("kept_rows_seconds", 0, 604'800, agent.kept_rows_time.count())};
    agent.worker_lease =
        std::chrono::seconds{fields.integer("worker_lease_seconds", 5, 3'600, agent.worker_lease.count())};
    parent.absorb(std::move(fields));
}

} // namespace

Result<FunctionConfig> read_function_config(const fs::path& file) {
    auto document = wire::read_document(file);
    if (!document) {
        return std::move(document).error();
    }
    const fs::path folder = fs::absolute(file).parent_path();
    wire::Fields fields{document->value, "", &document->places};
    FunctionConfig config;
    config.agent.dn = fields.text("dn");
    config.agent.version = "0.1.0";
    config.producer = fields.text("producer");
    config.state = relative_to(folder, fields.text("state"));
    config.enrolment = enrolment_of(fields);
    if (fields.has("credentials")) {
        config.credentials = read_credential_files(fields, "credentials", folder);
    }
    config.agent.policy = policy_of(fields.child("policy"), fields);
    read_times(fields.child("times"), config.agent, fields);
    config.capacity = capacity_of(fields.child("capacity"), fields);
    config.data = data_of(fields.children("data"), folder, fields);
    read_data_plane(fields.child("data_plane"), config.launcher, fields);
    read_device(fields, config.launcher);
    read_isolation(fields.child("isolation"), config.launcher, fields);
    read_cache(fields.child("cache"), config.matrices, fields);
    config.agent.program_bytes_max = fields.integer("program_bytes_max", 1, 1LL << 50U, config.agent.program_bytes_max);
    config.agent.downloads = config.state / "downloads";
    config.agent.arrivals = config.state / "arrivals";
    config.launcher.state_folder = config.state;
    config.matrices.cache = config.state / "cache";
    if (const auto dn = nrm::Dn::parse(config.agent.dn);
        !config.agent.dn.empty() && (!dn || dn->leaf().class_name != "MLTrainingFunction")) {
        fields.fail("dn", "the DN of an MLTrainingFunction is expected");
    }
    if (const auto url = link::parse_url(config.producer); !config.producer.empty() && !url) {
        fields.fail("producer", url.error().text());
    }
    if (auto done = fields.finish(); !done) {
        return std::move(done).error();
    }
    return config;
}

} // namespace muster::app
