#include "wire/agreement.h"

#include "base/digest.h"
#include "model/state_shares.h"
#include "wire/read_struct.h"

namespace muster::wire {

std::string canonical_text(const Agreement& agreement) {
    return nlohmann::json(agreement).dump();
}

std::string digest_of(const Agreement& agreement) {
    return sha256_hex(canonical_text(agreement));
}

Result<Agreement> agreement_from_text(const std::string& text) {
    const nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
    if (json.is_discarded()) {
        return Error{ErrorCode::invalid_argument, "agreement: not JSON"};
    }
    auto agreement = read_struct<Agreement>(json, "agreement");
    if (agreement && canonical_text(*agreement) != text) {
        return Error{ErrorCode::invalid_argument, "agreement: the text is not in canonical form"};
    }
    if (agreement) {
        if (auto checked = check_state_shares(state_shares_of(agreement->members)); !checked) {
            return Error{ErrorCode::invalid_argument, "agreement: " + checked.error().message, "/members"};
        }
    }
    return agreement;
}

} // namespace muster::wire
