/// Variants as {"type": ..., "body": {...}}: one table of names for each variant.
#pragma once

#include "base/result.h"

#include <nlohmann/json.hpp>

#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace muster::wire {

/// Writes the alternative that `value` holds under its name.
template <typename Variant, std::size_t N>
nlohmann::json envelope(const Variant& value, const std::array<std::string_view, N>& names) {
    static_assert(N == std::variant_size_v<Variant>);
    nlohmann::json body;
    std::visit([&](const auto& alternative) { body = alternative; }, value);
    return {{"type", names.at(value.index())}, {"body", std::move(body)}};
}

/// Reads what envelope() wrote. Errors: invalid_argument, for an unknown type or a body that does not fit.
template <typename Variant, std::size_t N>
Result<Variant> open_envelope(const nlohmann::json& json, const std::array<std::string_view, N>& names) {
    static_assert(N == std::variant_size_v<Variant>);
    if (!json.is_object() || !json.contains("type") || !json["type"].is_string() || !json.contains("body")) {
        return Error{ErrorCode::invalid_argument, "a message is an object with type and body"};
    }
    const auto& type = json["type"].get_ref<const std::string&>();
    std::optional<Variant> result;
    const auto try_one = [&]<std::size_t I>(std::integral_constant<std::size_t, I> /*index*/) {
        if (type == names[I]) {
            result = Variant{std::in_place_index<I>, json["body"].get<std::variant_alternative_t<I, Variant>>()};
        }
    };
    try {
        [&]<std::size_t... I>(std::index_sequence<I...>) {
            (try_one(std::integral_constant<std::size_t, I>{}), ...);
        }
        (std::make_index_sequence<N>{});
    } catch (const nlohmann::json::exception& problem) {
        // nlohmann reports a body that does not fit only as an exception; here it becomes a refusal.
        return Error{ErrorCode::invalid_argument, type + ": " + problem.what()};
    }
    if (!result) {
        return not_allowed("/type", type, std::vector<std::string>(names.begin(), names.end()));
    }
    return std::move(*result);
}

} // namespace muster::wire
