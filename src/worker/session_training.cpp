#include "worker/session_training.h"

#include "base/digest.h"
#include "worker/program.h"
#include "worker/stage_weights.h"
#include "worker/tree_archive.h"
#include "worker/tree_training.h"

#include <unistd.h>

#include <cerrno>
#include <span>
#include <string_view>
#include <system_error>
#include <vector>

namespace muster::worker {
namespace {

/// The model's digest and length, read back from where it was written.
struct WrittenModel {
    std::string sha256;
    std::int64_t bytes{};
};

WrittenModel read_back(int fd) {
    std::vector<std::byte> buffer(1U << 20U);
    Sha256 digest;
    WrittenModel written;
    while (true) {
        const auto count = ::pread(fd, buffer.data(), buffer.size(), written.bytes);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count < 0) {
            throw std::system_error{errno, std::generic_category(), "read the model archive back"};
        }
        if (count == 0) {
            written.sha256 = digest.finish_hex();
            return written;
        }
        digest.update(std::span{buffer}.first(static_cast<std::size_t>(count)));
        written.bytes += count;
    }
}

void write_all(int fd, std::string_view text) {
    while (!text.empty()) {
        const auto count = ::write(fd, text.data(), text.size());
        if (count < 0 && errno != EINTR) {
            throw std::system_error{errno, std::generic_category(), "write the model archive"};
        }
        text.remove_prefix(count > 0 ? static_cast<std::size_t>(count) : 0);
    }
}

template <typename Write>
WrittenModel write_model(int fd, Write write) {
    if (::ftruncate(fd, 0) != 0 || ::lseek(fd, 0, SEEK_SET) != 0) {
        throw std::system_error{errno, std::generic_category(), "empty the model's output file"};
    }
    write(fd);
    return read_back(fd);
}

std::size_t rank_of(const TrainingOrder& order) {
    return order.group ? static_cast<std::size_t>(order.group->getRank()) : 0;
}

void put_model(Done& done, const WrittenModel& written) {
    done.model_sha256 = written.sha256;
    done.model_bytes = written.bytes;
}

Result<Done> train_whole(const Recipe& recipe,
                         const Preprocessing& preprocessing,
                         const MatrixSet& matrices,
                         TrainingOrder order,
                         const ModelFiles& files,
                         const std::function<void()>& leave) {
    auto program = ModelProgram::build(recipe, preprocessing, {}, files.user_model, files.device);
    if (!program) {
        return std::move(program).error();
    }
    order.best_weights = files.output; // which is emptied before the model goes there
    auto done = train(*program, recipe, preprocessing, matrices, order);
    const bool first = rank_of(order) == 0;
    order.group.reset();
    leave();
    if (done && first) {
        put_model(*done, write_model(files.output, [&](int fd) { program->export_archive(fd); }));
    }
    return done;
}

Result<Done> train_all_trees(const Recipe& recipe,
                             const Preprocessing& preprocessing,
                             const MatrixSet& matrices,
                             TrainingOrder order,
                             const ModelFiles& files,
                             const std::function<void()>& leave,
                             collective::Group* group,
                             TreeProgress* progress) {
    TreeProgress none;
    auto trained = train_trees(recipe, preprocessing, matrices, order, group, progress != nullptr ? *progress : none);
    const bool first = rank_of(order) == 0;
    order.group.reset();
    leave();
    if (!trained) {
        return std::move(trained).error();
    }
    if (first) {
        const std::string archive = tree_archive(recipe, preprocessing, trained->text);
        put_model(trained->done, write_model(files.output, [&](int fd) { write_all(fd, archive); }));
    }
    return std::move(trained->done);
}

/// The stage's memory is free again when it returns: its weights are in the file.
Result<Done> train_stage(const Recipe& recipe,
                         const Preprocessing& preprocessing,
                         const MatrixSet& matrices,
                         TrainingOrder order,
                         const ModelFiles& files) {
    const std::size_t rank = rank_of(order);
    if (order.stages.size() <= rank || (rank == 0 && files.weights < 0)) {
        return Error{
            ErrorCode::invalid_argument,
            "the plan splits the model, but has no stage for this member, or there is no file for its weights"};
    }
    auto program = ModelProgram::build(recipe, preprocessing, order.stages[rank], files.user_model);
    if (!program) {
        return std::move(program).error();
    }
    order.best_weights = files.output;
    auto done = train(*program, recipe, preprocessing, matrices, order);
    if (done) {
        gather_weights(*program, recipe, preprocessing, order.stages, order.group, files.weights, files.user_model);
    }
    return done;
}

} // namespace

Result<Done> train_and_export(const Recipe& recipe,
                              const Preprocessing& preprocessing,
                              const MatrixSet& matrices,
                              TrainingOrder order,
                              const ModelFiles& files,
                              const std::function<void()>& leave,
                              collective::Group* group,
                              TreeProgress* progress) {
    if (has_trees(recipe)) {
        return train_all_trees(recipe, preprocessing, matrices, std::move(order), files, leave, group, progress);
    }
    if (order.stages.empty()) {
        return train_whole(recipe, preprocessing, matrices, std::move(order), files, leave);
    }
    auto done = train_stage(recipe, preprocessing, matrices, order, files);
    const bool first = rank_of(order) == 0;
    order.group.reset();
    leave();
    if (done && first) {
        put_model(*done, write_model(files.output, [&](int fd) {
            export_gathered(recipe, preprocessing, files.weights, fd, files.user_model);
        }));
    }
    return done;
}

} // namespace muster::worker
