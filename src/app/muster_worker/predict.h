/// muster-worker predict: what `muster model predict` runs.
#pragma once

namespace muster::app {

/// `muster-worker predict --model FILE --input FILE.csv` prints {"output", "predictions"} or {"error"} on stdout.
/// Returns the exit code.
int predict_main(int argc, char** argv);

} // namespace muster::app
