#include "app/muster/bench_group.h"

#include "app/muster/bench_operation.h"
#include "app/muster/interrupt.h"
#include "base/digest.h"
#include "base/id.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

namespace muster::app {
namespace {

using nlohmann::json;

constexpr auto start_wait = std::chrono::seconds{30};
constexpr auto answer_grace = std::chrono::seconds{10}; ///< for what a rank does besides its collectives
constexpr auto certificate_lifetime = std::chrono::hours{24};
constexpr std::size_t answer_bytes_max = 16U << 20U;

WallTime wall_now() {
    return std::chrono::system_clock::now();
}

std::string name_of_rank(std::size_t rank) {
    return fmt::format("rank {}", rank);
}

std::string identity_of_rank(const std::string& job, std::size_t rank) {
    return tls::job_uri(job, fmt::format("MLTrainingFunction=bench-{}", rank));
}

struct Pipe {
    UniqueFd read;
    UniqueFd write;
};

Result<Pipe> make_pipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) {
        return Error{ErrorCode::unavailable, "cannot make a pipe: " + std::system_category().message(errno)};
    }
    return Pipe{UniqueFd{ends[0]}, UniqueFd{ends[1]}};
}

/// Writes to a rank. One that has ended is noticed when its answer is read.
void write_all(int fd, std::string_view text) {
    while (!text.empty()) {
        const ssize_t written = ::write(fd, text.data(), text.size());
        if (written < 0 && errno != EINTR) {
            return;
        }
        text.remove_prefix(static_cast<std::size_t>(std::max<ssize_t>(written, 0)));
    }
}

/// The smallest value that a share `part` of all is not above.
double quantile(const std::vector<double>& sorted, double part) {
    const auto place = static_cast<std::size_t>(part * static_cast<double>(sorted.size()));
    return sorted[std::min(place, sorted.size() - 1)];
}

} // namespace

Result<BenchGroup>
BenchGroup::start(const std::vector<BenchPlace>& places, const std::vector<BenchCase>& cases, BenchSettings settings) {
    auto authority = tls::Authority::open(tls::Authority::make_root("muster bench", certificate_lifetime, wall_now()));
    if (!authority) {
        return std::move(authority).error();
    }
    BenchGroup group{settings, std::move(*authority)};
    group.job_ = "bench-" + random_hex(8);
    for (const BenchPlace& place : places) {
        if (auto started = group.start_rank(place); !started) {
            return std::move(started).error().within(name_of_rank(group.ranks_.size()));
        }
    }
    const auto bytes = std::ranges::max(cases, {}, &BenchCase::bytes).bytes;
    const bool second = std::ranges::any_of(cases, needs_second_buffer, &BenchCase::operation);
    std::vector<json> orders;
    for (const BenchPlace& place : places) {
        orders.push_back({{"do", "listen"}, {"host", place.host}, {"buffer_bytes", bytes}, {"second", second}});
    }
    auto answers = group.ask(orders, Deadline::after(start_wait));
    if (!answers) {
        return std::move(answers).error();
    }
    for (std::size_t i = 0; i < places.size(); ++i) {
        const std::string& host = places[i].host;
        group.ranks_[i].address = fmt::format("{}:{}",
                                              host.find(':') == std::string::npos ? host : "[" + host + "]",
                                              (*answers)[i].at("port").get<int>());
    }
    return group;
}

Result<void> BenchGroup::start_rank(const BenchPlace& place) {
    auto orders = make_pipe();
    auto answers = make_pipe();
    for (auto* made : {&orders, &answers}) {
        if (!*made) {
            return std::move(*made).error();
        }
    }
    std::vector<std::string> words = place.command;
    words.insert(words.end(), {"bench", "rank"});
    auto process = function::ChildProcess::start({.program = "/usr/bin/env", // finds the first word in $PATH
                                                  .arguments = std::move(words),
                                                  .input = orders->read.get(),
                                                  .output = answers->write.get(),
                                                  .end_with_parent = true});
    if (!process) {
        return std::move(process).error();
    }
    ranks_.push_back({place.host, std::move(*process), std::move(orders->write), std::move(answers->read)});
    return {};
}

Result<double> BenchGroup::connect() {
    ++generation_;
    json common{
        {"do", "connect"},
        {"job", job_},
        {"generation", generation_},
        {"plan_digest", sha256_hex(job_)},
        {"authority", authority_.certificate()},
        {"timeout_ms", std::chrono::duration_cast<std::chrono::milliseconds>(settings_.operation_timeout).count()}};
    if (settings_.segment_bytes) {
        common["segment_bytes"] = *settings_.segment_bytes;
    }
    if (settings_.small_bytes_max) {
        common["small_bytes_max"] = *settings_.small_bytes_max;
    }
    if (settings_.stripes) {
        common["stripes"] = *settings_.stripes;
    }
    std::vector<json> orders;
    for (std::size_t i = 0; i < ranks_.size(); ++i) {
        const std::string identity = identity_of_rank(job_, i);
        common["members"].push_back(
            {{"name", name_of_rank(i)}, {"identity", identity}, {"address", ranks_[i].address}});
        auto pair = authority_.issue({.uri = identity, .lifetime = certificate_lifetime}, wall_now());
        if (!pair) {
            return std::move(pair).error();
        }
        orders.push_back({{"rank", i}, {"certificate", pair->certificate}, {"key", pair->key.reveal()}});
    }
    for (json& order : orders) {
        order.update(common);
    }
    const auto begin = std::chrono::steady_clock::now();
    auto answers = ask(orders, Deadline::after(settings_.operation_timeout + answer_grace));
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
    if (!answers) {
        return std::move(answers).error();
    }
    cipher_ = answers->front().at("cipher");
    return time.count();
}

Result<BenchFigures> BenchGroup::measure(const BenchCase& wanted) {
    const int calls = 2 * (wanted.rounds + wanted.warm_up); // each after a barrier
    auto answers = ask_all({{"do", "measure"},
                            {"operation", wanted.operation},
                            {"bytes", wanted.bytes},
                            {"rounds", wanted.rounds},
                            {"warm_up", wanted.warm_up}},
                           Deadline::after(calls * settings_.operation_timeout + answer_grace));
    if (!answers) {
        return std::move(answers).error();
    }
    BenchFigures figures;
    std::vector<double> times(static_cast<std::size_t>(wanted.rounds));
    for (const json& answer : *answers) {
        const auto own = answer.at("times_ms").get<std::vector<double>>();
        if (own.size() != times.size()) {
            return Error{ErrorCode::unavailable, "a rank measured another number of rounds"};
        }
        std::ranges::transform(times, own, times.begin(), [](double a, double b) { return std::max(a, b); });
        figures.cpu_ms += answer.at("cpu_ms").get<double>() / static_cast<double>(ranks_.size());
        figures.bytes_sent = std::max(figures.bytes_sent, answer.at("bytes_sent").get<std::int64_t>());
        figures.bytes_received = std::max(figures.bytes_received, answer.at("bytes_received").get<std::int64_t>());
    }
    std::ranges::sort(times);
    figures.p50_ms = quantile(times, 0.5);
    figures.p95_ms = quantile(times, 0.95);
    figures.min_ms = times.front();
    return figures;
}

Result<std::int64_t> BenchGroup::memory_bytes() {
    auto answers = ask_all({{"do", "memory"}}, Deadline::after(answer_grace));
    if (!answers) {
        return std::move(answers).error();
    }
    std::int64_t most = 0;
    for (const json& answer : *answers) {
        most = std::max(most, answer.at("bytes").get<std::int64_t>());
    }
    return most;
}

Result<std::vector<json>> BenchGroup::ask_all(const json& order, Deadline deadline) {
    return ask(std::vector<json>(ranks_.size(), order), deadline);
}

Result<std::vector<json>> BenchGroup::ask(const std::vector<json>& orders, Deadline deadline) {
    std::vector<std::string> lines;
    for (const json& order : orders) {
        lines.push_back(order.dump() + "\n");
    }
    for (std::size_t i = 0; i < ranks_.size(); ++i) {
        write_all(ranks_[i].orders.get(), lines[i]);
    }
    std::vector<json> answers(ranks_.size());
    for (std::size_t missing = ranks_.size(); missing > 0;) {
        std::vector<pollfd> entries;
        for (std::size_t i = 0; i < ranks_.size(); ++i) {
            // poll() passes over a negative descriptor: this rank has answered.
            entries.push_back({.fd = answers[i].is_null() ? ranks_[i].answers.get() : -1, .events = POLLIN});
        }
        entries.push_back({.fd = interrupt_fd(), .events = POLLIN});
        const int ready = ::poll(entries.data(), entries.size(), deadline.left_ms());
        if (interrupted()) {
            return Error{ErrorCode::deadline_exceeded, "interrupted"};
        }
        if (ready == 0) {
            return Error{ErrorCode::deadline_exceeded, "a rank does not answer"};
        }
        for (std::size_t i = 0; ready > 0 && i < ranks_.size(); ++i) {
            if (entries[i].revents == 0) {
                continue;
            }
            auto answer = read_answer(i);
            if (!answer) {
                return std::move(answer).error();
            }
            if (*answer) {
                answers[i] = std::move(**answer);
                --missing;
            }
        }
    }
    return answers;
}

Result<std::optional<json>> BenchGroup::read_answer(std::size_t number) {
    Rank& rank = ranks_[number];
    char part[65536];
    const ssize_t got = ::read(rank.answers.get(), part, sizeof part);
    if (got == 0) {
        return ended(number);
    }
    rank.read.append(part, static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    const auto end = rank.read.find('\n');
    if (end == std::string::npos) {
        if (rank.read.size() > answer_bytes_max) {
            return Error{ErrorCode::resource_exhausted, name_of_rank(number) + " does not stop talking"};
        }
        return std::optional<json>{};
    }
    json answer = json::parse(rank.read.substr(0, end), nullptr, false);
    rank.read.erase(0, end + 1);
    if (!answer.is_object()) {
        return Error{ErrorCode::unavailable,
                     fmt::format("{} at {} is no muster bench rank: it said something else", number, rank.host)};
    }
    if (answer.contains("error")) {
        return Error{ErrorCode::unavailable,
                     fmt::format("rank {} at {}: {}", number, rank.host, answer.at("error").get<std::string>())};
    }
    return std::optional{std::move(answer)};
}

Error BenchGroup::ended(std::size_t number) {
    auto status = ranks_[number].process.wait(Deadline::after(answer_grace));
    return {ErrorCode::unavailable,
            fmt::format("rank {} at {} has ended{}",
                        number,
                        ranks_[number].host,
                        status ? ": " + (status->empty() ? "exit status 0" : *status) : "")};
}

} // namespace muster::app
