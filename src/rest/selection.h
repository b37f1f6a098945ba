/// What a GET of managed objects asks for: scope, attributes, form. Source: TS 32.158 clauses 6.1 and 5.2,
/// TS28532_ProvMnS.yaml.
#pragma once

#include "base/result.h"
#include "nrm/tree.h"
#include "rest/http.h"

#include <optional>
#include <string>
#include <vector>

namespace muster::rest {

/// The form of the answer.
enum class ObjectForm { json, hierarchical, flat };

/// A GET's query, read.
struct Selection {
    nrm::Scope scope{};
    std::optional<std::vector<std::string>> attributes{}; ///< names; none: all
    std::optional<std::vector<std::string>> fields{};     ///< JSON pointers into the object; none: all
};

/// Errors: invalid_argument, for unknown or unsupported parameters and for what does not parse.
[[nodiscard]] Result<Selection> parse_selection(const Request& request);

/// Chooses by the Accept header; none when nothing of ours is acceptable (406).
[[nodiscard]] std::optional<ObjectForm> accepted_form(std::string_view accept);
[[nodiscard]] const char* media_type_of(ObjectForm form);

/// Leaves only what was asked for in the objects' attributes. Says whether anything asked for was there.
[[nodiscard]] bool keep_selected(const Selection& selection, std::vector<nrm::Object>& objects);

} // namespace muster::rest
