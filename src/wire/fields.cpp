#include "wire/fields.h"

#include <fmt/format.h>

#include <cmath>

namespace muster::wire {
namespace {

const Json& empty_object() {
    static const Json empty = Json::object();
    return empty;
}

} // namespace

std::string pointer_token(const std::string& key) {
    std::string text;
    for (const char c : key) {
        text += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
    }
    return text;
}

Fields::Fields(const Json& object, std::string pointer, const Places* places)
    : object_{&object}, pointer_{std::move(pointer)}, places_{places} {
    if (!object.is_object()) {
        error_ = Error{
            ErrorCode::invalid_argument, fmt::format("an object is expected, not {}", object.type_name()), where("")};
        object_ = &empty_object();
    }
}

std::string Fields::where(const std::string& name) const {
    const std::string pointer = name.empty() ? pointer_ : pointer_ + "/" + pointer_token(name);
    if (places_ != nullptr) {
        if (const auto place = places_->find(pointer); place != places_->end()) {
            return place->second + ": " + pointer;
        }
        if (const auto place = places_->find(pointer_); place != places_->end()) {
            return place->second + ": " + pointer;
        }
    }
    return pointer.empty() ? "/" : pointer;
}

void Fields::fail(const std::string& name, std::string message) {
    if (!error_) {
        error_ = Error{ErrorCode::invalid_argument, std::move(message), where(name)};
    }
}

const Json* Fields::find(const std::string& name) {
    known_.insert(name);
    const auto found = object_->find(name);
    return found == object_->end() || found->is_null() ? nullptr : &*found;
}

const Json* Fields::require(const std::string& name) {
    const Json* value = find(name);
    if (value == nullptr) {
        fail(name, "is required");
    }
    return value;
}

const Json* Fields::raw(const std::string& name) {
    return find(name);
}

bool Fields::has(const std::string& name) const {
    const auto found = object_->find(name);
    return found != object_->end() && !found->is_null();
}

std::string Fields::text(const std::string& name) {
    const Json* value = require(name);
    if (value != nullptr && (!value->is_string() || value->get_ref<const std::string&>().empty())) {
        fail(name, fmt::format("a text is expected, not {}", value->is_string() ? "an empty one" : value->type_name()));
        return {};
    }
    return value == nullptr ? std::string{} : value->get<std::string>();
}

std::string Fields::text(const std::string& name, std::string fallback) {
    const Json* value = find(name);
    if (value == nullptr) {
        return fallback;
    }
    if (!value->is_string()) {
        fail(name, fmt::format("a text is expected, not {}", value->type_name()));
        return fallback;
    }
    return value->get<std::string>();
}

std::int64_t Fields::integer(const std::string& name, std::int64_t low, std::int64_t high) {
    return require(name) == nullptr ? low : integer(name, low, high, low);
}

std::int64_t Fields::integer(const std::string& name, std::int64_t low, std::int64_t high, std::int64_t fallback) {
    const Json* value = find(name);
    if (value == nullptr) {
        return fallback;
    }
    const bool too_large =
        value->is_number_unsigned() &&
        value->get<std::uint64_t>() > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    if (!value->is_number_integer() || too_large || value->get<std::int64_t>() < low ||
        value->get<std::int64_t>() > high) {
        fail(name, fmt::format("a whole number from {} to {} is expected, not {}", low, high, value->dump()));
        return fallback;
    }
    return value->get<std::int64_t>();
}

double Fields::real(const std::string& name, double low, double high) {
    return require(name) == nullptr ? low : real(name, low, high, low);
}

double Fields::real(const std::string& name, double low, double high, double fallback) {
    const Json* value = find(name);
    if (value == nullptr) {
        return fallback;
    }
    if (!value->is_number() || !std::isfinite(value->get<double>()) || value->get<double>() < low ||
        value->get<double>() > high) {
        fail(name, fmt::format("a number from {} to {} is expected, not {}", low, high, value->dump()));
        return fallback;
    }
    return value->get<double>();
}

bool Fields::boolean(const std::string& name, bool fallback) {
    const Json* value = find(name);
    if (value == nullptr) {
        return fallback;
    }
    if (!value->is_boolean()) {
        fail(name, fmt::format("true or false is expected, not {}", value->dump()));
        return fallback;
    }
    return value->get<bool>();
}

std::vector<std::string> Fields::texts(const std::string& name) {
    const Json* value = find(name);
    std::vector<std::string> result;
    if (value == nullptr) {
        return result;
    }
    if (!value->is_array()) {
        fail(name, fmt::format("a list of texts is expected, not {}", value->type_name()));
        return result;
    }
    for (const Json& item : *value) {
        if (!item.is_string()) {
            fail(name, fmt::format("a list of texts is expected; {} is none", item.dump()));
            return {};
        }
        result.push_back(item.get<std::string>());
    }
    return result;
}

std::vector<std::int64_t>
Fields::integers(const std::string& name, std::int64_t low, std::int64_t high, std::vector<std::int64_t> fallback) {
    const Json* value = find(name);
    if (value == nullptr) {
        return fallback;
    }
    if (!value->is_array()) {
        fail(name, fmt::format("a list of whole numbers is expected, not {}", value->type_name()));
        return fallback;
    }
    std::vector<std::int64_t> result;
    for (const Json& item : *value) {
        if (!item.is_number_integer() || item.get<std::int64_t>() < low || item.get<std::int64_t>() > high) {
            fail(name, fmt::format("whole numbers from {} to {} are expected, not {}", low, high, item.dump()));
            return fallback;
        }
        result.push_back(item.get<std::int64_t>());
    }
    return result;
}

Fields Fields::child(const std::string& name) {
    const Json* value = find(name);
    return Fields{value == nullptr ? empty_object() : *value, pointer_ + "/" + pointer_token(name), places_};
}

std::vector<Fields> Fields::children(const std::string& name) {
    const Json* value = find(name);
    std::vector<Fields> result;
    if (value == nullptr) {
        return result;
    }
    if (!value->is_array()) {
        fail(name, fmt::format("a list is expected, not {}", value->type_name()));
        return result;
    }
    for (std::size_t i = 0; i < value->size(); ++i) {
        result.emplace_back((*value)[i], fmt::format("{}/{}/{}", pointer_, pointer_token(name), i), places_);
    }
    return result;
}

void Fields::absorb(Fields&& nested) {
    if (auto done = nested.finish(); !done && !error_) {
        error_ = std::move(done).error();
    }
}

Result<void> Fields::finish() {
    if (error_) {
        return *error_;
    }
    for (const auto& [key, value] : object_->items()) {
        if (!known_.contains(key)) {
            Error error = not_allowed(where(key), key, {known_.begin(), known_.end()});
            error.message = "unknown key \"" + key + "\"";
            return error;
        }
    }
    return {};
}

} // namespace muster::wire
