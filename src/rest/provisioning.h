/// The Provisioning MnS over HTTP. Source: TS28532_ProvMnS.yaml 19.2.0, TS 32.158.
#pragma once

#include "rest/call.h"

namespace muster::rest {

/// Start of the URIs of managed objects; {MnSVersion} is v1.
inline constexpr const char* provisioning_root = "/ProvMnS/v1";

// Handlers; captures[0] is the path form of the DN. Each authorises by itself, since what a PUT does (create, update,
// subscribe) depends on the object.
[[nodiscard]] Response get_objects(const Call& call);
[[nodiscard]] Response put_object(const Call& call);
[[nodiscard]] Response post_object(const Call& call);
[[nodiscard]] Response patch_object(const Call& call);
[[nodiscard]] Response delete_object(const Call& call);
/// The NRM root always exists and holds nothing: 204.
[[nodiscard]] Response get_root(const Call& call);

} // namespace muster::rest
