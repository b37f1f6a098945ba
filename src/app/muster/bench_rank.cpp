#include "app/muster/bench_rank.h"

#include "app/muster/bench_operation.h"
#include "app/muster/exit_code.h"
#include "app/muster/output.h"
#include "base/file.h"
#include "function/sockets.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

namespace muster::app {
namespace {

using nlohmann::json;

template <typename T>
T value_of(Result<T> result) {
    if (!result) {
        throw std::runtime_error{result.error().text()};
    }
    return std::move(*result);
}

/// A line of /proc/self/status in bytes.
std::int64_t status_bytes(const std::string& key) {
    std::ifstream status{"/proc/self/status"};
    for (std::string line; std::getline(status, line);) {
        if (line.starts_with(key + ":")) {
            return std::stoll(line.substr(key.size() + 1)) * 1024;
        }
    }
    throw std::runtime_error{"/proc/self/status has no " + key};
}

/// CPU time of all threads of this process.
double cpu_milliseconds() {
    timespec now{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) * 1e-6;
}

/// The rank's state between orders.
class Rank {
public:
    explicit Rank(const ConnectGroup& connect) : connect_{connect} {}

    json obey(const json& order) {
        const std::string what = order.at("do");
        return what == "listen"    ? listen(order)
               : what == "connect" ? join(order)
               : what == "measure" ? measure(order)
               : what == "memory"  ? memory()
                                   : throw std::invalid_argument{"no order is called " + what};
    }

private:
    json listen(const json& order) {
        buffer_.assign(order.at("buffer_bytes").get<std::size_t>() / sizeof(float), 0.0F);
        second_.assign(order.value("second", false) ? buffer_.size() : 0, 0.0F);
        listener_ = value_of(function::listen_on(order.at("host"), 0, 0));
        memory_before_ = status_bytes("VmRSS");
        return {{"port", listener_.port}};
    }

    json join(const json& order) {
        collective::GroupSpec spec{
            .job = order.at("job"),
            .generation = order.at("generation"),
            .plan_digest = order.at("plan_digest"),
            .rank = order.at("rank"),
            .credentials = {.own = {.certificate = order.at("certificate"), .key = Secret{order.at("key")}},
                            .trust = order.at("authority")},
            .operation_timeout = std::chrono::milliseconds{order.at("timeout_ms").get<int>()}};
        for (const json& member : order.at("members")) {
            spec.members.push_back({member.at("name"), member.at("identity"), {member.at("address")}});
        }
        if (order.contains("segment_bytes")) {
            spec.segment_bytes = order.at("segment_bytes");
        }
        if (order.contains("small_bytes_max")) {
            spec.tuning = collective::ring_above(order.at("small_bytes_max"));
        }
        if (order.contains("stripes")) {
            spec.stripes = order.at("stripes");
        }
        spec.on_refusal = [](const std::string& sentence) { say(sentence); };
        const auto deadline = Deadline::after(spec.operation_timeout);
        group_.reset(); // A rank is in one generation at a time.
        group_ = value_of(connect_(std::move(spec), listener_.fd.get(), deadline));
        return {{"cipher", group_->traffic().cipher}};
    }

    json measure(const json& order) {
        if (!group_) {
            throw std::runtime_error{"measure comes after connect"};
        }
        const auto elements = order.at("bytes").get<std::size_t>() / sizeof(float);
        if (elements > buffer_.size()) {
            throw std::runtime_error{"measure wants more bytes than listen announced"};
        }
        if (needs_second_buffer(order.at("operation")) && elements > second_.size()) {
            throw std::runtime_error{"measure wants a second buffer, which listen did not announce"};
        }
        BenchOperation operation{*group_, order.at("operation"), std::span{buffer_}.first(elements), second_};
        const int rounds = order.at("rounds");
        std::vector<double> times;
        double cpu = 0;
        collective::GroupTraffic traffic;
        for (int round = -order.at("warm_up").get<int>(); round < rounds; ++round) {
            operation.fill();
            group_->barrier();
            const auto traffic_before = group_->traffic();
            const double cpu_before = cpu_milliseconds();
            const auto begin = std::chrono::steady_clock::now();
            operation.run();
            const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - begin;
            if (round >= 0) {
                times.push_back(time.count());
                cpu += cpu_milliseconds() - cpu_before;
                const auto now = group_->traffic();
                traffic.bytes_sent += now.bytes_sent - traffic_before.bytes_sent;
                traffic.bytes_received += now.bytes_received - traffic_before.bytes_received;
            }
        }
        operation.check();
        return {{"times_ms", times},
                {"cpu_ms", cpu / rounds},
                {"bytes_sent", traffic.bytes_sent / rounds},
                {"bytes_received", traffic.bytes_received / rounds}};
    }

    [[nodiscard]] json memory() const {
        return {{"bytes", std::max<std::int64_t>(status_bytes("VmHWM") - memory_before_, 0)}};
    }

    const ConnectGroup& connect_;
    std::vector<float> buffer_{};
    std::vector<float> second_{};
    function::ListeningSocket listener_{};
    std::unique_ptr<collective::Group> group_{};
    std::int64_t memory_before_{};
};

void answer(const json& what) {
    fmt::print("{}\n", what.dump());
    std::fflush(stdout);
}

} // namespace

int run_bench_rank(const ConnectGroup& connect) {
    Rank rank{connect};
    try {
        for (std::string line; std::getline(std::cin, line);) {
            answer(rank.obey(json::parse(line)));
        }
        return exit_done;
    } catch (const std::exception& problem) { // The parent is the one who can decide.
        answer({{"error", problem.what()}});
        return exit_not_allowed;
    }
}

} // namespace muster::app
