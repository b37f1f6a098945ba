#include "auth/enrolment.h"

#include "base/digest.h"
#include "nrm/dn.h"

#include <nlohmann/json.hpp>

#include <array>

namespace muster::auth {
namespace {

using Json = nlohmann::json;

constexpr const char* kind = "token";
constexpr std::size_t token_bytes = 32;
constexpr std::size_t sweep_batch = 500; ///< records removed in one transaction

std::int64_t seconds_of(WallTime time) {
    return std::chrono::floor<std::chrono::seconds>(time.time_since_epoch()).count();
}

WallTime time_of(std::int64_t seconds) {
    return WallTime{std::chrono::seconds{seconds}};
}

/// The canonical text of a function's DN.
Result<std::string> function_dn(const std::string& text) {
    const auto dn = nrm::Dn::parse(text);
    if (!dn) {
        return Error{ErrorCode::invalid_argument, dn.error().message, "dn"};
    }
    if (dn->leaf().class_name != "MLTrainingFunction") {
        return Error{ErrorCode::invalid_argument,
                     "\"" + text + "\" names a " + dn->leaf().class_name +
                         "; enrolment is for training functions (SubNetwork=...,MLTrainingFunction=...)",
                     "dn"};
    }
    return dn->text();
}

Error unknown_token() {
    return Error{ErrorCode::unauthenticated,
                 "this enrolment token is unknown; check that it was copied whole, or ask the operator for a new one",
                 "token"};
}

} // namespace

std::size_t Enrolment::sweep() {
    const std::int64_t ended_before = seconds_of(clock_->wall_now() - settings_.token_kept);
    std::size_t left = 0;
    std::vector<Write> removals;
    for (const Record& record : store_->list(kind)) {
        const bool old = Json::parse(record.body).at("expires").get<std::int64_t>() < ended_before;
        if (old && removals.size() < sweep_batch) {
            removals.push_back({kind, record.key, std::nullopt, record.version});
        } else {
            ++left;
        }
    }
    if (!removals.empty()) {
        if (const auto done = store_->commit(removals); !done) {
            left += removals.size(); // another sweep came first; the next one sees what is left
        }
    }
    return left;
}

Result<NewToken> Enrolment::create_token(const std::string& dn, std::chrono::seconds lifetime, const std::string& by) {
    const auto name = function_dn(dn);
    if (!name) {
        return name.error();
    }
    if (lifetime <= std::chrono::seconds::zero() || lifetime > settings_.token_lifetime_max) {
        return Error{ErrorCode::invalid_argument,
                     "a token lives from 1 to " + std::to_string(settings_.token_lifetime_max.count()) + " seconds",
                     "lifetime"};
    }
    if (auto good = revocations_->check(tls::function_uri(*name), ""); !good) {
        return std::move(good).error();
    }
    if (sweep() >= settings_.tokens_max) {
        return Error{ErrorCode::resource_exhausted,
                     "there are " + std::to_string(settings_.tokens_max) + " enrolment tokens already"};
    }
    NewToken made{Secret{random_hex(token_bytes)}, *name, clock_->wall_now() + lifetime};
    const Json body{{"dn", *name}, {"expires", seconds_of(made.expires)}, {"by", by}};
    const Write write{
        kind, sha256_hex(made.token.reveal()), body.dump(-1, ' ', false, Json::error_handler_t::replace), 0};
    if (auto done = store_->commit(std::array{write}); !done) {
        return std::move(done).error().within("keep enrolment token");
    }
    return made;
}

Result<Enrolled> Enrolment::certify(const std::string& uri, const std::string& csr) const {
    auto certificate =
        authority_->sign(csr, {.uri = uri, .lifetime = settings_.certificate_lifetime}, clock_->wall_now());
    if (!certificate) {
        return std::move(certificate).error();
    }
    return Enrolled{*std::move(certificate), authority_->certificate()};
}

Result<Enrolled> Enrolment::enrol(const std::string& token, const std::string& dn, const std::string& csr) {
    const auto record = store_->read(kind, sha256_hex(token));
    if (!record) {
        return unknown_token();
    }
    Json body = Json::parse(record->body);
    const std::string bound = body.at("dn");
    const auto name = function_dn(dn);
    if (!name || *name != bound) {
        return Error{ErrorCode::permission_denied,
                     "this enrolment token was made for another function; ask the operator for one for " + dn,
                     "dn"};
    }
    if (auto good = revocations_->check(tls::function_uri(bound), ""); !good) {
        return std::move(good).error();
    }
    const std::string request_digest = sha256_hex(csr);
    if (body.contains("request")) {
        if (body.at("request") == request_digest) {
            return Enrolled{body.at("certificate"), authority_->certificate()};
        }
        return Error{ErrorCode::conflict,
                     "this enrolment token was used on " + body.at("used").get<std::string>() +
                         "; it works once. If that was not you, have the function revoked; ask the operator for a "
                         "new token",
                     "token"};
    }
    const WallTime expires = time_of(body.at("expires"));
    if (clock_->wall_now() >= expires) {
        return Error{ErrorCode::permission_denied,
                     "this enrolment token expired on " + rfc3339(expires) + "; ask the operator for a new one",
                     "token"};
    }
    auto enrolled = certify(tls::function_uri(bound), csr);
    if (!enrolled) {
        return enrolled;
    }
    body["request"] = request_digest;
    body["certificate"] = enrolled->certificate;
    body["used"] = rfc3339(clock_->wall_now());
    // Of two callers that come at once, the version lets one win.
    if (auto done = store_->commit(std::array{Write{kind, record->key, body.dump(), record->version}}); !done) {
        if (done.error().code != ErrorCode::conflict) {
            return std::move(done).error().within("use enrolment token");
        }
        return Error{ErrorCode::conflict, "this enrolment token is being used by another call right now", "token"};
    }
    return enrolled;
}

Result<Enrolled> Enrolment::renew(const tls::Identity& verified, const std::string& serial, const std::string& csr) {
    if (verified.role != tls::Role::function) {
        return Error{ErrorCode::permission_denied,
                     "only certificates of functions are renewed here; the others are issued by the operator's CA"};
    }
    if (auto good = revocations_->check(verified.uri, serial); !good) {
        return std::move(good).error();
    }
    return certify(verified.uri, csr);
}

} // namespace muster::auth
