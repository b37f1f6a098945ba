#include "process_group/remote_store.h"

#include "process_group/store_channel.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

namespace muster::process_group {
namespace {

std::vector<uint8_t> bytes_of(const std::string& text) {
    return {text.begin(), text.end()};
}

std::string text_of(const std::vector<uint8_t>& bytes) {
    return {bytes.begin(), bytes.end()};
}

} // namespace

RemoteStore::RemoteStore(Membership membership,
                         std::string address,
                         std::chrono::milliseconds timeout,
                         std::shared_ptr<StoreServer> server)
    : Store{timeout}, channel_{std::make_shared<StoreChannel>(
                          std::move(membership), std::move(address), std::move(server))} {
    channel_->connect(Deadline::after(timeout));
}

RemoteStore::RemoteStore(std::shared_ptr<StoreChannel> channel, std::chrono::milliseconds timeout)
    : Store{timeout}, channel_{std::move(channel)} {}

RemoteStore::~RemoteStore() = default;

const std::string& RemoteStore::session() const {
    return channel_->session();
}

const std::string& RemoteStore::own_host() const {
    return channel_->own_host();
}

const Membership& RemoteStore::membership() const {
    return channel_->membership();
}

c10::intrusive_ptr<c10d::Store> RemoteStore::clone() {
    // reclaim() would take an object that has an owner already, and a new one has none.
    return c10::intrusive_ptr<RemoteStore>::unsafe_steal_from_new(new RemoteStore{channel_, timeout_});
}

std::vector<std::string> RemoteStore::ask(StoreRequestKind kind, std::vector<std::string> parts) {
    return ask(kind, std::move(parts), timeout_);
}

std::vector<std::string>
RemoteStore::ask(StoreRequestKind kind, std::vector<std::string> parts, std::chrono::milliseconds patience) {
    auto reply = channel_->ask({kind, patience, std::move(parts)});
    switch (reply.kind) {
    case StoreReplyKind::done:
        return std::move(reply.parts);
    case StoreReplyKind::timed_out:
        fail_in_store(fmt::format("wait timeout after {} ms at {}, missing keys: {}",
                                  patience.count(),
                                  channel_->who(),
                                  fmt::join(reply.parts, ", ")));
    case StoreReplyKind::empty:
        C10_THROW_ERROR(DistQueueEmptyError, "queue is empty");
    case StoreReplyKind::later: // answers greetings only
    case StoreReplyKind::refused:
        break;
    }
    fail_in_store(fmt::format("{} refused: {}", channel_->who(), fmt::join(reply.parts, ", ")));
}

namespace {

/// The only part of a reply.
const std::string& only(const std::vector<std::string>& parts) {
    TORCH_CHECK(parts.size() == 1, "the store answered with ", parts.size(), " values instead of one");
    return parts.front();
}

} // namespace

void RemoteStore::set(const std::string& key, const std::vector<uint8_t>& value) {
    ask(StoreRequestKind::set, {key, text_of(value)});
}

std::vector<uint8_t> RemoteStore::compareSet(const std::string& key,
                                             const std::vector<uint8_t>& expected,
                                             const std::vector<uint8_t>& wanted) {
    return bytes_of(only(ask(StoreRequestKind::compare_set, {key, text_of(expected), text_of(wanted)})));
}

std::vector<uint8_t> RemoteStore::get(const std::string& key) {
    return bytes_of(only(ask(StoreRequestKind::get, {key})));
}

int64_t RemoteStore::add(const std::string& key, int64_t value) {
    return std::stoll(only(ask(StoreRequestKind::add, {key, std::to_string(value)})));
}

bool RemoteStore::deleteKey(const std::string& key) {
    return only(ask(StoreRequestKind::remove, {key})) == "1";
}

bool RemoteStore::check(const std::vector<std::string>& keys) {
    return only(ask(StoreRequestKind::check, keys)) == "1";
}

int64_t RemoteStore::getNumKeys() {
    return std::stoll(only(ask(StoreRequestKind::count, {})));
}

void RemoteStore::wait(const std::vector<std::string>& keys) {
    wait(keys, timeout_);
}

void RemoteStore::wait(const std::vector<std::string>& keys, const std::chrono::milliseconds& timeout) {
    ask(StoreRequestKind::wait, keys, timeout);
}

void RemoteStore::append(const std::string& key, const std::vector<uint8_t>& value) {
    ask(StoreRequestKind::append, {key, text_of(value)});
}

std::vector<std::vector<uint8_t>> RemoteStore::multiGet(const std::vector<std::string>& keys) {
    std::vector<std::vector<uint8_t>> values;
    for (const auto& value : ask(StoreRequestKind::get, keys)) {
        values.push_back(bytes_of(value));
    }
    return values;
}

void RemoteStore::multiSet(const std::vector<std::string>& keys, const std::vector<std::vector<uint8_t>>& values) {
    TORCH_CHECK(keys.size() == values.size(), "multiSet of ", keys.size(), " keys and ", values.size(), " values");
    std::vector<std::string> parts;
    for (std::size_t i = 0; i < keys.size(); ++i) {
        parts.push_back(keys[i]);
        parts.push_back(text_of(values[i]));
    }
    ask(StoreRequestKind::set, std::move(parts));
}

void RemoteStore::queuePush(const std::string& key, const std::vector<uint8_t>& value) {
    ask(StoreRequestKind::push, {key, text_of(value)});
}

std::vector<uint8_t> RemoteStore::queuePop(const std::string& key, bool block) {
    return bytes_of(only(ask(StoreRequestKind::pop, {key}, block ? timeout_ : std::chrono::milliseconds{0})));
}

int64_t RemoteStore::queueLen(const std::string& key) {
    return std::stoll(only(ask(StoreRequestKind::length, {key})));
}

std::vector<std::string> RemoteStore::listKeys() {
    return ask(StoreRequestKind::list, {});
}

} // namespace muster::process_group
