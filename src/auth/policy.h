/// The local policy: who may do what on which managed objects. What no row allows is refused.
#pragma once

#include "auth/principal.h"
#include "base/result.h"
#include "nrm/dn.h"
#include "tls/identity.h"
#include "wire/document.h"
#include "wire/fields.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace muster::auth {

/// What a caller wants to do. The last five are about no managed object: a row's `on` does not matter for them.
enum class Operation { create, read, update, remove, subscribe, model_download, recipe, plan, admin, revoke };

/// Returns the word of the policy file, e.g. "delete" for Operation::remove.
[[nodiscard]] std::string_view name_of(Operation operation) noexcept;

/// Rows of the policy file. A value, immutable after parsing; safe from any thread.
///
///     identities:                             # certificates of the operator's own CA, by SAN
///       "DNS:oss.operator.example": {role: consumer, name: oss}
///     rules:
///       - who: muster://consumer/oss*         # SAN, or a list of them; `*` stands for any text
///         may: [create, read, update, delete]
///         on: SubNetwork=1                    # DN (that object and all below it), a list of them, or `*`
///         priority_min: 10                    # most urgent priority it may write; lower runs first
class Policy {
public:
    /// Reads a parsed policy file. Errors: invalid_argument with the place (file:line:column when the document has
    /// places), the allowed values and the nearest one; also for a row that could never apply.
    [[nodiscard]] static Result<Policy> parse(const wire::Document& document);

    /// Says who a verified peer is: the mapped identity, or its own. Gate::admit checks revocation as well, so
    /// nobody else should call this. Errors: permission_denied for a job certificate, which opens nothing but its
    /// job's data plane; unauthenticated for an identity without a URI.
    [[nodiscard]] Result<Principal> recognise(const tls::Identity& verified) const;

    /// Says whether a row allows `operation` on `object`; without `object` the rows' `on` is not looked at, for what is
    /// about no managed object. Errors: permission_denied, naming caller, operation, object, and what is allowed.
    [[nodiscard]] Result<void>
    authorise(const Principal& caller, Operation operation, const std::optional<nrm::Dn>& object) const;

    /// Says whether the caller may write this priority. Errors: permission_denied with the most urgent one allowed.
    [[nodiscard]] Result<void>
    authorise_priority(const Principal& caller, const nrm::Dn& object, std::int64_t priority) const;

private:
    struct Row {
        std::vector<std::string> who{};
        std::vector<Operation> may{};
        std::vector<nrm::Dn> on{}; ///< empty: everything
        std::optional<std::int64_t> priority_min{};
    };
    static Result<Row> parse_row(wire::Fields fields);
    static Result<tls::Identity> parse_mapping(const std::string& san, wire::Fields fields);
    [[nodiscard]] bool applies(const Row& row, const Principal& caller, const std::optional<nrm::Dn>& object) const;

    std::map<std::string, tls::Identity> identities_;
    std::vector<Row> rows_;
};

} // namespace muster::auth
