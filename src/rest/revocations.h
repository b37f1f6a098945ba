/// Who is no longer let in: the list, revoking and restoring.
#pragma once

#include "rest/call.h"

namespace muster::rest {

/// [{"subject", "reason", "by", "time"}]
[[nodiscard]] Response get_revocations(const Call& call);
/// {"reason"} -> 201, or 200 when it was revoked before, {"subject", "reason", "by", "time"}. When the answer goes out
/// the revocation is durable, the subject's connections are closing, and the producer knows. captures[0] is the subject
/// (auth::Revocations::subject_of).
[[nodiscard]] Response put_revocation(const Call& call);
/// 204; the subject is let in again.
[[nodiscard]] Response delete_revocation(const Call& call);

} // namespace muster::rest
