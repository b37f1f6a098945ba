#include "auth/revocation.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>

namespace muster::auth {
namespace {

constexpr const char* kind = "revoked";
constexpr std::size_t reason_bytes_max = 1'000;
constexpr std::size_t subject_bytes_max = 2'048;

std::string lower(std::string text) {
    std::ranges::transform(
        text, text.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    return text;
}

Revocation of(const Record& record) {
    const auto body = nlohmann::json::parse(record.body);
    return {record.key, body.at("reason"), body.at("by"), body.at("time")};
}

} // namespace

Result<void> Revocations::put(const std::string& subject, const std::string& reason, const std::string& by) {
    if (subject.size() > subject_bytes_max || reason.size() > reason_bytes_max) {
        return Error{ErrorCode::invalid_argument, "subject (2048 bytes) or reason (1000 bytes) is too long"};
    }
    const nlohmann::json body{{"reason", reason}, {"by", by}, {"time", rfc3339(clock_->wall_now())}};
    const Write write{kind, subject, body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace), 0};
    // A conflict means that it is revoked already: what was asked for holds.
    if (auto done = store_->commit(std::array{write}); !done && done.error().code != ErrorCode::conflict) {
        return done;
    }
    return {};
}

Result<void> Revocations::revoke_identity(const std::string& uri, const std::string& reason, const std::string& by) {
    const tls::Identity identity = tls::parse_identity(uri);
    if (uri.find(':') == std::string::npos || (uri.starts_with("muster:") && identity.role == tls::Role::other)) {
        return Error{ErrorCode::invalid_argument,
                     "\"" + uri + "\" is no identity; write a SAN like muster://function/SubNetwork=1,... or DNS:host",
                     "identity"};
    }
    return put("identity:" + identity.uri, reason, by);
}

Result<void> Revocations::revoke_serial(const std::string& serial, const std::string& reason, const std::string& by) {
    const std::string hex = lower(serial);
    if (hex.empty() || hex.find_first_not_of("0123456789abcdef") != std::string::npos) {
        return Error{ErrorCode::invalid_argument, "a serial number is hexadecimal digits", "serial"};
    }
    return put("serial:" + hex, reason, by);
}

Result<void> Revocations::restore(const std::string& subject) {
    const auto record = store_->read(kind, subject);
    if (!record) {
        return Error{ErrorCode::not_found, "\"" + subject + "\" is not revoked"};
    }
    return store_->commit(std::array{Write{kind, subject, std::nullopt, record->version}});
}

std::vector<Revocation> Revocations::list() const {
    std::vector<Revocation> all;
    for (const Record& record : store_->list(kind)) {
        all.push_back(of(record));
    }
    return all;
}

Result<void> Revocations::check(const std::string& uri, const std::string& serial) const {
    std::optional<Record> record = store_->read(kind, "identity:" + uri);
    if (!record && !serial.empty()) {
        record = store_->read(kind, "serial:" + lower(serial));
    }
    if (!record) {
        return {};
    }
    const Revocation revocation = of(*record);
    return Error{ErrorCode::permission_denied,
                 (revocation.subject.starts_with("serial:") ? "this certificate of " : "") + uri + " was revoked on " +
                     revocation.time + " (" + revocation.reason + "); ask the operator to restore or re-enrol it"};
}

} // namespace muster::auth
