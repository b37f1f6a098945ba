/// Models and their preprocessing as blobs named by SHA-256: download, and upload that can be resumed.
///
///   HEAD   200 when complete; 404 with Muster-Offset: bytes of an unfinished upload
///   PUT    Content-Range: bytes first-last/total. 202 with Muster-Offset while parts are missing, 201 when complete,
///          200 when it was complete already, 409 with Muster-Offset when the part does not fit there
#pragma once

#include "rest/call.h"

namespace muster::rest {

[[nodiscard]] Response get_blob(const Call& call);
[[nodiscard]] Response head_blob(const Call& call);
[[nodiscard]] Response put_blob(const Call& call);

} // namespace muster::rest
