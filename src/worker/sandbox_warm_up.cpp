#include "worker/sandbox_warm_up.h"

#include "base/digest.h"
#include "base/fd.h"
#include "collective/group.h"
#include "process_group/backend.h"
#include "tls/context.h"
#include "tls/keys.h"
#include "worker/exported_model.h"
#include "worker/program.h"
#include "worker/ranks.h"
#include "worker/step.h"
#include "worker/trainer.h"
#include "worker/weights_export.h"

#include <ATen/Context.h>
#include <malloc.h>
#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <optional>
#include <system_error>
#include <thread>

namespace muster::worker {

namespace {

constexpr int malloc_kept_bytes = 1 << 29;  ///< free memory kept for the next step
constexpr int malloc_mmap_bytes = 32 << 20; ///< larger blocks are mapped on their own; glibc allows no more
constexpr std::int64_t warm_up_rows = 512;
constexpr int handshake_turns_max = 8;

Error cold(const std::string& why) {
    return {ErrorCode::unavailable, "warming up failed: " + why};
}

UniqueFd memory_file(const char* name, std::int64_t bytes) {
    UniqueFd fd{::memfd_create(name, MFD_CLOEXEC)};
    if (!fd.valid() || ::ftruncate(fd.get(), bytes) != 0) {
        throw std::system_error{errno, std::generic_category(), "make a file in memory"};
    }
    return fd;
}

/// What the tiny models of the warm-up take.
Preprocessing tiny_inputs() {
    Preprocessing preprocessing;
    preprocessing.inputs = {{.name = "x"}, {.name = "c", .kind = ColumnKind::category, .categories = {"a", "b"}}};
    preprocessing.target = {.name = "y"};
    return preprocessing;
}

/// An archive that is written, loaded, run on enough rows for MKL and OpenMP to begin, and exported; and one that
/// cannot be loaded.
Result<void> look_at_archives() {
    const auto program = ModelProgram::build({.name = "warm-up", .model = {.hidden = {64}}}, tiny_inputs());
    if (!program) {
        return cold(program.error().text());
    }
    const auto archive = memory_file("archive", 0);
    program->export_archive(archive.get());
    const auto model = ExportedModel::load(archive.get(), "warm-up");
    const RawRows rows{.rows = warm_up_rows,
                       .numbers = std::vector<double>(warm_up_rows, 1.0),
                       .categories = std::vector<std::vector<std::string>>(warm_up_rows, {"a"})};
    const auto outputs = model ? model->predict(rows) : Result<std::vector<double>>{model.error()};
    if (!outputs) {
        return cold(outputs.error().text());
    }
    const auto weights = memory_file("weights", 0);
    if (const auto written = export_weights(archive.get(), "warm-up", weights.get()); !written) {
        return cold(written.error().text());
    }
    const auto empty = memory_file("no archive", 1);
    (void)ExportedModel::load(empty.get(), "warm-up");
    return {};
}

Recipe tiny_recipe() {
    Recipe recipe;
    recipe.name = "warm-up";
    recipe.data.target = "y";
    recipe.model.hidden = {64};
    recipe.batch = warm_up_rows / 4;
    recipe.metrics = {"mae"};
    return recipe;
}

/// A network that reads series.
Recipe tiny_forecast() {
    Recipe recipe = tiny_recipe();
    recipe.data.windows = RecipeWindows{.length = 4};
    recipe.model = {.family = "gru", .layers = 2, .width = 8};
    recipe.batch = 64;
    return recipe;
}

/// Trains the recipe on zeros and exports what it gave.
Result<void> train_on_zeros(const Recipe& recipe,
                            const Preprocessing& preprocessing,
                            const MatrixSet& matrices,
                            const c10::intrusive_ptr<c10d::ProcessGroup>& group) {
    auto program = ModelProgram::build(recipe, preprocessing);
    if (!program) {
        return cold(program.error().text());
    }
    TrainingOrder order;
    order.group = group;
    order.batch_rows = {recipe.batch};
    if (const auto done = train(*program, recipe, preprocessing, matrices, order); !done) {
        return cold(done.error().text());
    }
    program->export_archive(memory_file("archive", 0).get());
    Ranks ranks{group, {recipe.batch}};
    const std::vector<std::int64_t> rows{window_rows(recipe) - 1, window_rows(recipe)};
    TrainingStep sharded{*program, recipe, preprocessing, ranks, recipe.batch, 1, {1.0}};
    static_cast<void>(sharded.run(matrices.train, rows, std::ssize(rows), false));
    return {};
}

/// A training that is small but takes every way a real one takes.
Result<void> train_a_little(const c10::intrusive_ptr<c10d::ProcessGroup>& group) {
    const Preprocessing preprocessing = tiny_inputs();
    MatrixInfo info;
    info.rows = warm_up_rows;
    info.columns = preprocessing.encoded_columns();
    const auto features = memory_file("features", info.rows * info.columns * 4);
    const auto target = memory_file("target", info.rows * 4);
    const auto matrices = map_matrices({features.get(), target.get(), -1, -1}, info);
    if (!matrices) {
        return cold(matrices.error().text());
    }
    if (auto done = train_on_zeros(tiny_recipe(), preprocessing, *matrices, group); !done) {
        return done;
    }
    Recipe forecast = tiny_forecast();
    forecast.data.validation = 0.9; // all rows are zeros of one series: a few steps do
    return train_on_zeros(forecast, preprocessing, *matrices, group);
}

using Connection = std::unique_ptr<SSL, decltype(&SSL_free)>;

/// Both ends of a handshake in memory, turn by turn.
Result<void> shake_hands(const tls::Context& server_context, const tls::Context& client_context) {
    const Connection server{SSL_new(server_context.native()), SSL_free};
    const Connection client{SSL_new(client_context.native()), SSL_free};
    BIO* near_end = nullptr;
    BIO* far_end = nullptr;
    if (!server || !client || BIO_new_bio_pair(&near_end, 0, &far_end, 0) != 1) {
        return cold("OpenSSL has no memory");
    }
    SSL_set_bio(server.get(), near_end, near_end);
    SSL_set_bio(client.get(), far_end, far_end);
    SSL_set_accept_state(server.get());
    SSL_set_connect_state(client.get());
    for (int turn = 0; turn < handshake_turns_max; ++turn) {
        const int client_done = SSL_do_handshake(client.get());
        const int server_done = SSL_do_handshake(server.get());
        if (client_done == 1 && server_done == 1) {
            return {};
        }
        if (client_done != 1 && SSL_get_error(client.get(), client_done) == SSL_ERROR_SSL) {
            return cold(tls::handshake_failure(client.get(), SSL_ERROR_SSL));
        }
    }
    return cold("a handshake with ourselves did not end");
}

/// Makes the error paths load their texts as well: a refused peer is reported from within the box.
void fail_a_handshake(const tls::Context& server_context) {
    const Connection server{SSL_new(server_context.native()), SSL_free};
    BIO* input = BIO_new(BIO_s_mem());
    static constexpr char noise[] = "this is no TLS at all";
    BIO_write(input, noise, sizeof noise);
    SSL_set_bio(server.get(), input, BIO_new(BIO_s_mem()));
    SSL_set_accept_state(server.get());
    const int result = SSL_do_handshake(server.get());
    (void)tls::handshake_failure(server.get(), SSL_get_error(server.get(), result));
}

Result<void> use_tls() {
    const auto now = std::chrono::system_clock::now();
    const auto authority = tls::Authority::open(tls::Authority::make_root("warm-up", std::chrono::hours{1}, now));
    if (!authority) {
        return cold(authority.error().text());
    }
    tls::CertificateSpec spec;
    spec.uri = tls::job_uri("warm-up", "none");
    spec.lifetime = std::chrono::hours{1};
    auto own = authority->issue(spec, now);
    if (!own) {
        return cold(own.error().text());
    }
    const tls::Credentials credentials{std::move(*own), authority->certificate()};
    const auto server = tls::Context::server(credentials, tls::ClientCertificate::required);
    const auto client = tls::Context::client(credentials);
    if (!server || !client) {
        return cold(!server ? server.error().text() : client.error().text());
    }
    fail_a_handshake(*server);
    return shake_hands(*server, *client);
}

/// Refuses instead of throwing: a worker that cannot start says why.
Result<void> guarded(const std::function<Result<void>()>& action) {
    try {
        return action();
    } catch (const c10::Error& error) {
        return cold(error.what_without_backtrace());
    } catch (const std::exception& error) { // the boundary of the start: its caller is main
        return cold(error.what());
    }
}

} // namespace

void settle_process() {
    ::setenv("TZ", "UTC0", 1);
    ::tzset();
    // One arena: shrinking another one reads /proc/sys/vm/overcommit_memory, at any time later. Tensors of a step come
    // back in the next: keeping their memory saves the page faults.
    ::mallopt(M_ARENA_MAX, 1);
    ::mallopt(M_TRIM_THRESHOLD, malloc_kept_bytes);
    ::mallopt(M_MMAP_THRESHOLD, malloc_mmap_bytes);
    ::signal(SIGPIPE, SIG_IGN);
    at::globalContext().setUserEnabledMkldnn(false);
}

Result<void> warm_up_tls() {
    return guarded(use_tls);
}

Result<void> warm_up_alone() {
    return guarded([]() -> Result<void> {
        prepare_thread(1);
        return train_a_little({});
    });
}

Result<void> warm_up_archives() {
    return guarded([]() -> Result<void> {
        prepare_thread(1);
        (void)sha256_hex(""); // OpenSSL reads its settings with its first digest; a recipe in a model has one
        return look_at_archives();
    });
}

Result<void> warm_up_threads(int threads) {
    Result<void> result;
    std::thread{[&] {
        result = guarded([threads]() -> Result<void> {
            prepare_thread(threads);
            collective::GroupSpec alone;
            alone.job = "warm-up";
            alone.members.resize(1);
            const auto dialer = collective::tcp_dialer();
            auto group =
                collective::Group::connect(std::move(alone), -1, *dialer, Deadline::after(std::chrono::seconds{1}));
            if (!group) {
                return cold(group.error().text());
            }
            return train_a_little(process_group::make_process_group(std::move(*group)));
        });
    }}.join();
    return result;
}

} // namespace muster::worker
