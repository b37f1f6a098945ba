/// The classes of the standard as data: one row for each attribute. Source: TS 28.105 V19.6.0, TS28105_AiMlNrm.yaml
/// 19.5.0, TS28623_GenericNrm.yaml. A new class or attribute is a new row, nothing else.
#pragma once

#include "base/result.h"

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

namespace muster::nrm {

/// The JSON type of an attribute or of a member of a structured one.
/// `date_time` is RFC 3339 text, `dn` a distinguished name, `map` an object with at least one member, of any names and
/// values; `any` is not looked into.
enum class AttributeType { string, integer, real, boolean, dn, date_time, enumeration, structure, map, any };

/// Returns the type as a consumer knows it, e.g. "integer".
[[nodiscard]] std::string_view name_of(AttributeType type);

/// One attribute (or member of a structure). S|R|W|I|N of the standard's tables. The members of a structure follow it
/// in being writable, invariant and notifyable.
struct Attribute {
    std::string_view name;
    AttributeType type{AttributeType::string};
    bool list{false};      ///< array of `type`
    bool unique{false};    ///< array items are unique
    int lower{0};          ///< lower bound of the multiplicity; >= 1 means required
    bool writable{false};  ///< by a consumer
    bool invariant{false}; ///< may be given at creation, not changed
    bool notifyable{true};
    std::optional<double> minimum{};
    std::optional<double> maximum{};
    std::span<const std::string_view> values{}; ///< enumeration
    std::span<const Attribute> members{};       ///< structure
    std::string_view default_json{};            ///< JSON text put in on creation when absent; empty: none
    std::size_t items_min{0};                   ///< fewest items of a list that is there
    std::size_t items_max{0};                   ///< most items of a list; 0: the limit for all lists
};

/// One class.
struct ClassRow {
    std::string_view name;
    std::span<const Attribute> attributes;
    std::span<const std::string_view> parents; ///< classes that may contain it; "" is the root, "*" is any class
    bool consumer_creates{false};              ///< PUT and POST allowed
    bool consumer_deletes{false};
    bool extra_attributes{false}; ///< attributes beyond the table are accepted (none so far)
};

/// Every class the producer knows.
[[nodiscard]] std::span<const ClassRow> classes();
/// Says whether an object of `row` may stand below one of `parent` ("" for the root).
[[nodiscard]] bool contains(std::string_view parent, const ClassRow& row);
/// Finds a class by its exact name. Errors: invalid_argument with the nearest name.
[[nodiscard]] Result<const ClassRow*> class_of(std::string_view name);

} // namespace muster::nrm
