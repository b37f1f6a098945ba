/// Reads typed fields of a JSON object, and says precisely what is wrong with them.
#pragma once

#include "base/result.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace muster::wire {

using Json = nlohmann::json;

/// Where the values of a document stand in its text: JSON pointer -> "file:line:column".
using Places = std::map<std::string, std::string>;

/// Returns a key as it stands in a JSON pointer: "~" and "/" escaped. Source: RFC 6901, section 3.
[[nodiscard]] std::string pointer_token(const std::string& key);

/// Reads one object. The first mistake is kept and everything after it returns defaults; finish() gives the mistake,
/// or names a key that nobody asked for. One thread; the JSON and the places outlive it.
///
///     Fields fields{json, "/optimizer"};
///     const std::string name = fields.text("name");
///     const double rate = fields.real("learning_rate", 0.0, 10.0, 1e-3);
///     if (auto done = fields.finish(); !done) { return std::move(done).error(); }
class Fields {
public:
    Fields(const Json& object, std::string pointer, const Places* places = nullptr);

    /// Required text, not empty.
    std::string text(const std::string& name);
    std::string text(const std::string& name, std::string fallback);
    std::int64_t integer(const std::string& name, std::int64_t low, std::int64_t high);
    std::int64_t integer(const std::string& name, std::int64_t low, std::int64_t high, std::int64_t fallback);
    /// Finite number in [low, high].
    double real(const std::string& name, double low, double high);
    double real(const std::string& name, double low, double high, double fallback);
    bool boolean(const std::string& name, bool fallback);
    std::vector<std::string> texts(const std::string& name);
    std::vector<std::int64_t>
    integers(const std::string& name, std::int64_t low, std::int64_t high, std::vector<std::int64_t> fallback);
    /// One of the names of `choices`; without `fallback` it is required.
    template <typename T>
    T choice(const std::string& name,
             const std::vector<std::pair<std::string, T>>& choices,
             std::optional<T> fallback = std::nullopt);

    /// The nested object; absent: an empty one.
    Fields child(const std::string& name);
    /// The items of an array of objects; absent: none.
    std::vector<Fields> children(const std::string& name);
    /// The raw value, or nullptr.
    const Json* raw(const std::string& name);
    [[nodiscard]] bool has(const std::string& name) const;
    [[nodiscard]] const std::string& pointer() const { return pointer_; }
    /// The object itself.
    [[nodiscard]] const Json& json() const { return *object_; }

    /// Keeps `error` unless there is one already; its place is put in front.
    void fail(const std::string& name, std::string message);
    /// Takes over the mistake of a nested reader.
    void absorb(Fields&& nested);
    /// Errors: invalid_argument, the first mistake; or an unknown key with the nearest known one.
    [[nodiscard]] Result<void> finish();

private:
    const Json* find(const std::string& name);
    const Json* require(const std::string& name);
    [[nodiscard]] std::string where(const std::string& name) const;

    const Json* object_;
    std::string pointer_;
    const Places* places_;
    std::set<std::string> known_;
    std::optional<Error> error_;
};

template <typename T>
T Fields::choice(const std::string& name,
                 const std::vector<std::pair<std::string, T>>& choices,
                 std::optional<T> fallback) {
    const Json* value = fallback ? find(name) : require(name);
    if (value == nullptr) {
        return fallback.value_or(choices.front().second);
    }
    std::vector<std::string> allowed;
    for (const auto& [choice_name, choice_value] : choices) {
        if (value->is_string() && value->get_ref<const std::string&>() == choice_name) {
            return choice_value;
        }
        allowed.push_back(choice_name);
    }
    if (!error_) {
        error_ = not_allowed(
            where(name), value->is_string() ? value->get<std::string>() : value->dump(), std::move(allowed));
    }
    return fallback.value_or(choices.front().second);
}

} // namespace muster::wire
