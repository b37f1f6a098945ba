/// Distinguished names. Source: 3GPP TS 32.300, TS 32.158.
#pragma once

#include "base/result.h"

#include <compare>
#include <string>
#include <string_view>
#include <vector>

namespace muster::nrm {

/// One component, e.g. MLTrainingFunction=1.
struct Rdn {
    std::string class_name;
    std::string id;

    auto operator<=>(const Rdn&) const = default;
};

inline constexpr std::size_t dn_depth_max = 32;
inline constexpr std::size_t dn_id_bytes_max = 255;
inline constexpr std::size_t dn_class_name_bytes_max = 64;

/// Says what is wrong with an id (empty, too long, not UTF-8, control characters). Errors: invalid_argument.
[[nodiscard]] Result<void> check_id(std::string_view id);

/// A full distinguished name below the producer's root, e.g. "SubNetwork=1,ManagedElement=gnb-1". Never empty.
class Dn {
public:
    /// Parses the comma form; in ids, a backslash stands before each of , = + < > # ; \\ " (TS 32.300 7.3).
    /// Errors: invalid_argument, naming the component.
    [[nodiscard]] static Result<Dn> parse(std::string_view text);
    /// Parses the URI path form "SubNetwork=1/ManagedElement=gnb-1", percent-decoding ids; one leading slash is
    /// allowed. Errors: invalid_argument, naming the component.
    [[nodiscard]] static Result<Dn> from_path(std::string_view path);

    /// The comma form; parse(text()) is this.
    [[nodiscard]] std::string text() const;
    /// The URI path form without leading slash; from_path(path()) is this.
    [[nodiscard]] std::string path() const;
    [[nodiscard]] const Rdn& leaf() const { return components_.back(); }
    [[nodiscard]] const std::vector<Rdn>& components() const { return components_; }
    [[nodiscard]] std::size_t depth() const { return components_.size(); }
    /// REQUIRES: a class name and an id that parse() would accept (see check_id)
    [[nodiscard]] Dn child(std::string class_name, std::string id) const;
    /// The DN without its last component. REQUIRES: depth() > 1
    [[nodiscard]] Dn parent() const;
    /// Says whether this is `other` or below it.
    [[nodiscard]] bool within(const Dn& other) const;

    /// Component-wise order: a subtree is contiguous, parents first.
    auto operator<=>(const Dn&) const = default;

private:
    explicit Dn(std::vector<Rdn> components) : components_{std::move(components)} {}
    std::vector<Rdn> components_;
};

/// What people know a function by: gnb-1 for "...,ManagedElement=gnb-1,MLTrainingFunction=1", else the last component.
/// Takes any text; for tables and sentences, never to find an object.
[[nodiscard]] std::string short_name(const std::string& dn);

} // namespace muster::nrm
