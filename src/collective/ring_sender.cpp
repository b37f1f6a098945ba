#include "collective/ring_sender.h"

#include "base/assert.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace muster::collective {
namespace {

/// The header and the first bytes of a payload share one TLS record.
constexpr std::size_t record_bytes = 16U << 10U;

} // namespace

RingSender::RingSender(Connection& connection, int wake)
    : connection_{connection}, wake_{wake}, staging_(record_bytes), thread_{[this] { loop(); }} {}

RingSender::~RingSender() {
    {
        const std::scoped_lock lock{mutex_};
        ending_ = true;
        stopping_ = true;
    }
    changed_.notify_all();
    thread_.join();
}

void RingSender::start(Job job) {
    {
        const std::scoped_lock lock{mutex_};
        MUSTER_ASSERT(!job_);
        job_ = job;
        received_ = 0;
        failure_.reset();
    }
    changed_.notify_all();
}

void RingSender::received(std::size_t count) {
    {
        const std::scoped_lock lock{mutex_};
        received_ = count;
    }
    changed_.notify_all();
}

bool RingSender::finished() {
    const std::scoped_lock lock{mutex_};
    return !job_;
}

std::optional<std::string> RingSender::failure() {
    const std::scoped_lock lock{mutex_};
    return failure_;
}

void RingSender::stop() {
    std::unique_lock lock{mutex_};
    stopping_ = true;
    changed_.notify_all();
    changed_.wait(lock, [this] { return !job_; });
}

void RingSender::loop() {
    for (;;) {
        std::optional<Job> job;
        {
            std::unique_lock lock{mutex_};
            changed_.wait(lock, [this] { return ending_ || job_; });
            if (!job_) {
                return;
            }
            job = job_;
        }
        auto reason = run(*job);
        {
            const std::scoped_lock lock{mutex_};
            if (!reason.empty()) {
                failure_ = std::move(reason);
            }
            job_.reset();
        }
        changed_.notify_all();
        const std::uint64_t one = 1;
        // The counter cannot overflow: whoever waits reads it.
        (void)!::write(wake_, &one, sizeof one);
    }
}

std::string RingSender::run(const Job& job) {
    for (std::size_t i = 0; i < job.plan->sends.size(); ++i) {
        if (!wait_received(job.plan->sends[i].needs, job.deadline)) {
            return "stopped";
        }
        if (auto reason = send(job, i); !reason.empty()) {
            return reason;
        }
    }
    return {};
}

bool RingSender::wait_received(std::size_t count, Deadline deadline) {
    std::unique_lock lock{mutex_};
    changed_.wait_until(lock, deadline.at(), [&] { return stopping_ || received_ >= count; });
    return !stopping_ && received_ >= count;
}

std::string RingSender::send(const Job& job, std::size_t index) {
    const auto& segment = job.plan->sends[index];
    const auto payload = job.buffer.subspan(segment.offset, segment.bytes);
    const auto header = encode(FrameHeader{.kind = FrameKind::data,
                                           .call = job.call,
                                           .step = job.first_step + static_cast<std::uint32_t>(index),
                                           .payload_bytes = payload.size()});
    const auto first = payload.first(std::min(payload.size(), staging_.size() - header.size()));
    std::ranges::copy(first, std::ranges::copy(header, staging_.begin()).out);
    auto reason = write_all(std::span{staging_}.first(header.size() + first.size()), job.deadline);
    return reason.empty() ? write_all(payload.subspan(first.size()), job.deadline) : reason;
}

std::string RingSender::write_all(std::span<const std::byte> data, Deadline deadline) {
    while (!data.empty()) {
        const auto result = connection_.write(data);
        if (result.status == IoStatus::done) {
            data = data.subspan(result.bytes);
            continue;
        }
        if (result.status != IoStatus::want_write) {
            return connection_.explain();
        }
        pollfd entry{.fd = connection_.fd(), .events = POLLOUT, .revents = 0};
        const int ready = ::poll(&entry, 1, deadline.left_ms());
        if (ready == 0) {
            return "takes no more data";
        }
        if (ready < 0 && errno != EINTR) {
            return "poll failed";
        }
    }
    return {};
}

} // namespace muster::collective
