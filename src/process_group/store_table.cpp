#include "process_group/store_table.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdint>

namespace muster::process_group {
namespace {

StoreReply done(std::string part) {
    return {StoreReplyKind::done, {std::move(part)}};
}

StoreReply refused(std::string why) {
    return {StoreReplyKind::refused, {std::move(why)}};
}

StoreReply full(const std::string& key) {
    return refused(fmt::format("the store is full, '{}' has no room", key));
}

std::optional<std::int64_t> number_of(const std::string& text) {
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    return error == std::errc{} && end == text.data() + text.size() ? std::optional{number} : std::nullopt;
}

/// How many parts a request must have; nothing when any number will do.
std::optional<std::size_t> parts_of(StoreRequestKind kind) {
    switch (kind) {
    case StoreRequestKind::add:
    case StoreRequestKind::append:
    case StoreRequestKind::push:
        return 2;
    case StoreRequestKind::compare_set:
        return 3;
    case StoreRequestKind::remove:
    case StoreRequestKind::pop:
    case StoreRequestKind::length:
        return 1;
    case StoreRequestKind::count:
    case StoreRequestKind::list:
        return 0;
    default:
        return std::nullopt;
    }
}

} // namespace

std::optional<StoreReply> StoreTable::answer(const StoreRequest& request) {
    const auto& parts = request.parts;
    const auto wanted = parts_of(request.kind);
    if ((wanted && parts.size() != *wanted) || (request.kind == StoreRequestKind::set && parts.size() % 2 != 0)) {
        return refused(fmt::format("{} parts in a request to the store", parts.size()));
    }
    switch (request.kind) {
    case StoreRequestKind::hello:
        return refused("a second greeting");
    case StoreRequestKind::set:
        for (std::size_t i = 0; i < parts.size(); i += 2) {
            if (auto reply = store(parts[i], parts[i + 1]); reply.kind != StoreReplyKind::done) {
                return reply;
            }
        }
        return StoreReply{};
    case StoreRequestKind::get: {
        StoreReply reply;
        for (const auto& key : parts) {
            const auto found = values_.find(key);
            if (found == values_.end()) {
                return std::nullopt;
            }
            reply.parts.push_back(found->second);
        }
        return reply;
    }
    case StoreRequestKind::add:
        return add(parts[0], parts[1]);
    case StoreRequestKind::compare_set:
        return compare_set(request);
    case StoreRequestKind::remove:
        return remove(parts[0]);
    case StoreRequestKind::check:
        return done(missing(parts).empty() ? "1" : "0");
    case StoreRequestKind::wait:
        return missing(parts).empty() ? std::optional{StoreReply{}} : std::nullopt;
    case StoreRequestKind::count:
        return done(std::to_string(values_.size() + queues_.size()));
    case StoreRequestKind::append: {
        const auto found = values_.find(parts[0]);
        return store(parts[0], found == values_.end() ? parts[1] : found->second + parts[1]);
    }
    case StoreRequestKind::push:
        return push(request);
    case StoreRequestKind::pop:
        return pop(request);
    case StoreRequestKind::length: {
        const auto found = queues_.find(parts[0]);
        return done(std::to_string(found == queues_.end() ? 0 : found->second.size()));
    }
    case StoreRequestKind::list: {
        StoreReply reply;
        for (const auto& [key, value] : values_) {
            reply.parts.push_back(key);
        }
        return reply;
    }
    }
    return refused("unknown request");
}

StoreReply StoreTable::give_up(const StoreRequest& request) const {
    return {StoreReplyKind::timed_out, missing(request.parts)};
}

bool StoreTable::has(const std::string& key) const {
    return values_.contains(key) || queues_.contains(key);
}

std::vector<std::string> StoreTable::missing(const std::vector<std::string>& keys) const {
    std::vector<std::string> absent;
    for (const auto& key : keys) {
        if (!has(key)) {
            absent.push_back(key);
        }
    }
    return absent;
}

StoreReply StoreTable::store(const std::string& key, std::string value) {
    const auto found = values_.find(key);
    const std::size_t before = found == values_.end() ? 0 : key.size() + found->second.size();
    const std::size_t after = key.size() + value.size();
    if (!fits(after, before)) {
        return full(key);
    }
    bytes_ = bytes_ - before + after;
    values_.insert_or_assign(key, std::move(value));
    return {};
}

StoreReply StoreTable::add(const std::string& key, const std::string& number) {
    const auto found = values_.find(key);
    const auto before = found == values_.end() ? std::optional<std::int64_t>{0} : number_of(found->second);
    const auto change = number_of(number);
    std::int64_t sum = 0;
    if (!before || !change || __builtin_add_overflow(*before, *change, &sum)) {
        return refused(fmt::format("'{}' holds no number that could be added to", key));
    }
    auto text = std::to_string(sum);
    auto reply = store(key, text);
    return reply.kind == StoreReplyKind::done ? done(std::move(text)) : reply;
}

StoreReply StoreTable::compare_set(const StoreRequest& request) {
    const auto& [key, expected, wanted] = std::tie(request.parts[0], request.parts[1], request.parts[2]);
    const auto found = values_.find(key);
    // A key that is not there equals the empty value; else the caller's own expectation comes back.
    if (found == values_.end() ? !expected.empty() : found->second != expected) {
        return done(found == values_.end() ? expected : found->second);
    }
    auto reply = store(key, wanted);
    return reply.kind == StoreReplyKind::done ? done(wanted) : reply;
}

StoreReply StoreTable::remove(const std::string& key) {
    bool any = false;
    if (const auto found = values_.find(key); found != values_.end()) {
        bytes_ -= key.size() + found->second.size();
        values_.erase(found);
        any = true;
    }
    if (const auto found = queues_.find(key); found != queues_.end()) {
        for (const auto& value : found->second) {
            bytes_ -= key.size() + value.size();
        }
        queues_.erase(found);
        any = true;
    }
    return done(any ? "1" : "0");
}

StoreReply StoreTable::push(const StoreRequest& request) {
    const auto bytes = request.parts[0].size() + request.parts[1].size();
    if (!fits(bytes)) {
        return full(request.parts[0]);
    }
    bytes_ += bytes;
    queues_[request.parts[0]].push_back(request.parts[1]);
    return {};
}

std::optional<StoreReply> StoreTable::pop(const StoreRequest& request) {
    const auto found = queues_.find(request.parts[0]);
    if (found == queues_.end()) {
        return request.patience.count() > 0 ? std::nullopt : std::optional{StoreReply{StoreReplyKind::empty, {}}};
    }
    auto reply = done(std::move(found->second.front()));
    bytes_ -= request.parts[0].size() + reply.parts[0].size();
    found->second.pop_front();
    if (found->second.empty()) {
        queues_.erase(found); // an empty queue is no key
    }
    return reply;
}

} // namespace muster::process_group
