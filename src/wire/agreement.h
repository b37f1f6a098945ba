/// The canonical text of an agreement and its digest, which every function signs.
#pragma once

#include "base/result.h"
#include "model/agreement.h"

#include <string>

namespace muster::wire {

/// JSON with sorted keys and no spaces: equal agreements, equal texts.
[[nodiscard]] std::string canonical_text(const Agreement& agreement);
/// The plan digest: SHA-256 of canonical_text(), hex.
[[nodiscard]] std::string digest_of(const Agreement& agreement);
/// Reads a canonical text. Errors: invalid_argument, also when the text is not canonical (its digest would be of
/// something else than what is read here).
[[nodiscard]] Result<Agreement> agreement_from_text(const std::string& text);

} // namespace muster::wire
