/// What the producer offers beside managed objects: recipes, plans, functions, logs, enrolment, health.
#pragma once

#include "rest/call.h"

namespace muster::rest {

[[nodiscard]] Response get_recipes(const Call& call);
[[nodiscard]] Response get_recipe(const Call& call);
/// JSON or YAML; 201 {"name", "digest"}.
[[nodiscard]] Response post_recipe(const Call& call);
/// {"attributes": {...}} of an MLTrainingRequest; evaluates without training.
[[nodiscard]] Response post_plan(const Call& call);
[[nodiscard]] Response get_functions(const Call& call);
[[nodiscard]] Response get_log(const Call& call);

/// {"token", "dn", "csr"} -> {"certificate", "authority"}; the only route without a client certificate.
[[nodiscard]] Response post_enrolment(const Call& call);
/// {"csr"} -> {"certificate", "authority"}
[[nodiscard]] Response post_renewal(const Call& call);
/// {"dn", "lifetime_seconds"} -> {"token", "dn", "expires"}; the token is shown once.
[[nodiscard]] Response post_token(const Call& call);

[[nodiscard]] Response get_health(const Call& call);
[[nodiscard]] Response get_readiness(const Call& call);
[[nodiscard]] Response get_metrics(const Call& call);

} // namespace muster::rest
