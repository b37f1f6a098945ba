/// muster-worker predict: what `muster model predict` runs.
#pragma once

namespace muster::app {

/// `muster-worker predict --model FILE --input FILE.csv [--memory-limit BYTES] [--allow-missing-isolation PARTS]`
/// prints
/// {"output", "predictions"} or {"error"} on stdout. Both files are opened, then the box closes (worker/sandbox.h), and
/// only then they are looked at; an archive that tries what the box forbids ends the process with SIGSYS.
/// Returns the exit code for wrong arguments and --help; otherwise ends the process: 0, or 4 with {"error"}.
int predict_main(int argc, char** argv);

} // namespace muster::app
