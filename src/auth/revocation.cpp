#include "auth/revocation.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>

namespace muster::auth {
namespace {

constexpr const char* kind = "revoked";
constexpr std::size_t reason_bytes_max = 1'000;
constexpr std::size_t subject_bytes_max = 2'048;

constexpr std::string_view identity_prefix = "identity:";
constexpr std::string_view serial_prefix = "serial:";

std::string lower(std::string text) {
    std::ranges::transform(
        text, text.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    return text;
}

/// As tls::peer_serial writes it: lower case, whole bytes, no colons and no zero bytes in front.
std::string canonical_serial(std::string text) {
    std::erase(text, ':');
    text = lower(std::move(text));
    const std::size_t digits = text.find_first_not_of('0');
    if (digits == std::string::npos) {
        return text.empty() ? "" : "00";
    }
    text.erase(0, digits);
    return text.size() % 2 == 0 ? text : "0" + text;
}

Error not_revoked(const std::string& subject) {
    return {ErrorCode::not_found, "\"" + subject + "\" is not revoked"};
}

Revocation of(const Record& record) {
    const auto body = nlohmann::json::parse(record.body);
    return {record.key, body.at("reason"), body.at("by"), body.at("time")};
}

} // namespace

std::string Revocation::identity() const {
    return subject.starts_with(identity_prefix) ? subject.substr(identity_prefix.size()) : std::string{};
}

Result<std::string> Revocations::subject_of(const std::string& text) {
    if (text.size() > subject_bytes_max) {
        return Error{ErrorCode::invalid_argument, "the subject is too long (2048 bytes at most)", "subject"};
    }
    if (text.starts_with(serial_prefix)) {
        const std::string hex = canonical_serial(text.substr(serial_prefix.size()));
        if (hex.empty() || hex.find_first_not_of("0123456789abcdef") != std::string::npos) {
            return Error{ErrorCode::invalid_argument, "a serial number is hexadecimal digits", "subject"};
        }
        return std::string{serial_prefix} + hex;
    }
    if (!text.starts_with(identity_prefix)) {
        return Error{
            ErrorCode::invalid_argument, "\"" + text + "\" is no identity:<SAN> and no serial:<hex>", "subject"};
    }
    const std::string uri = text.substr(identity_prefix.size());
    const tls::Identity identity = tls::parse_identity(uri);
    if (uri.find(':') == std::string::npos || (uri.starts_with("muster:") && identity.role == tls::Role::other)) {
        return Error{ErrorCode::invalid_argument,
                     "\"" + uri + "\" is no identity; write a SAN like muster://function/SubNetwork=1,... or DNS:host",
                     "subject"};
    }
    return std::string{identity_prefix} + identity.uri;
}

Result<Revoked> Revocations::revoke(const std::string& subject, const std::string& reason, const std::string& by) {
    auto key = subject_of(subject);
    if (!key) {
        return std::move(key).error();
    }
    if (reason.size() > reason_bytes_max) {
        return Error{ErrorCode::invalid_argument, "the reason is too long (1000 bytes at most)", "reason"};
    }
    const Revocation wanted{*key, reason, by, rfc3339(clock_->wall_now())};
    const nlohmann::json body{{"reason", wanted.reason}, {"by", wanted.by}, {"time", wanted.time}};
    const Write write{kind, *key, body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace), 0};
    if (auto done = store_->commit(std::array{write}); !done) {
        if (done.error().code != ErrorCode::conflict) {
            return std::move(done).error();
        }
        auto standing = find(*key); // it is revoked already: what was asked for holds
        return standing ? Result<Revoked>{{*std::move(standing), false}} : std::move(standing).error();
    }
    return Revoked{wanted, true};
}

Result<void> Revocations::restore(const std::string& subject) {
    const auto key = subject_of(subject);
    if (!key) {
        return key.error();
    }
    const auto record = store_->read(kind, *key);
    if (!record) {
        return not_revoked(*key);
    }
    return store_->commit(std::array{Write{kind, *key, std::nullopt, record->version}});
}

Result<Revocation> Revocations::find(const std::string& subject) const {
    const auto key = subject_of(subject);
    if (!key) {
        return key.error();
    }
    const auto record = store_->read(kind, *key);
    return record ? Result<Revocation>{of(*record)} : not_revoked(*key);
}

std::vector<Revocation> Revocations::list() const {
    std::vector<Revocation> all;
    for (const Record& record : store_->list(kind)) {
        all.push_back(of(record));
    }
    return all;
}

Result<void> Revocations::check(const std::string& uri, const std::string& serial) const {
    std::optional<Record> record = store_->read(kind, std::string{identity_prefix} + uri);
    if (!record && !serial.empty()) {
        record = store_->read(kind, std::string{serial_prefix} + canonical_serial(serial));
    }
    if (!record) {
        return {};
    }
    const Revocation revocation = of(*record);
    return Error{ErrorCode::permission_denied,
                 (revocation.identity().empty() ? "this certificate of " : "") + uri + " was revoked on " +
                     revocation.time + " (" + revocation.reason + "); ask the operator to restore or re-enrol it"};
}

} // namespace muster::auth
