/// Delivers notifications over HTTPS: POST to each recipient, which answers 2xx (TS 28.532 11.1.2: 204).
#pragma once

#include "base/clock.h"
#include "tls/context.h"

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace muster::link {

/// One notification to be sent.
struct Delivery {
    std::string key;       ///< names it in delivered and failed
    std::string recipient; ///< https address
    std::string body;      ///< JSON text
};

/// Where deliveries come from. Called from the sender's threads; all must be set.
struct DeliverySource {
    /// What may be sent now, at most one for each order that must be kept; the same one until it is delivered or
    /// failed.
    std::function<std::vector<Delivery>(SteadyTime now)> due;
    std::function<void(const std::string& key)> delivered;
    /// Not delivered; the source decides when due() returns it again.
    std::function<void(const std::string& key, SteadyTime now)> failed;
};

struct NotificationSettings {
    std::vector<std::string> recipients; ///< allowed starts of addresses, e.g. "https://oss.example:8443/"; others fail
    std::chrono::milliseconds answer_max{10'000}; ///< from dialling to the answer
    std::chrono::milliseconds poll_every{250};    ///< how often due() is asked when nobody wakes us
    std::size_t threads{8};                       ///< deliveries at one time
    std::size_t recipient_threads_max{1};         ///< of them to one host and port, so that a dead one disturbs nobody
};

/// Says whether `recipient` starts with an allowed address, up to a border: "https://oss:1/a" allows
/// "https://oss:1/a/b" and "https://oss:1/a?x", not "https://oss:1/ab" or "https://oss:12".
[[nodiscard]] bool is_allowed_recipient(const std::string& recipient, const std::vector<std::string>& allowed);

/// Sends. A recipient must show a certificate of the trusted CA for its host. Owns its threads.
class NotificationSender {
public:
    /// `context` is asked before each connection.
    NotificationSender(NotificationSettings settings, std::function<tls::Context()> context, DeliverySource source);
    ~NotificationSender();
    NotificationSender(const NotificationSender&) = delete;
    NotificationSender& operator=(const NotificationSender&) = delete;

    void start();
    /// Looks for due deliveries now. From any thread.
    void wake();
    /// Ends after the deliveries under way, at most answer_max. Harmless twice.
    void stop();

private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

} // namespace muster::link
