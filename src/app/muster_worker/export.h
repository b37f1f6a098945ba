/// muster-worker export: what `muster model export` runs for the formats that need a look into the archive.
#pragma once

namespace muster::app {

/// `muster-worker export --model FILE --output-fd N [--memory-limit BYTES] [--allow-missing-isolation PARTS]` writes
/// the weights as safetensors to the empty file behind the descriptor and prints {"tensors", "bytes"} or {"error"} on
/// stdout. The archive is opened, then the box closes (worker/sandbox.h), and only then it is looked at; an archive
/// that tries what the box forbids ends the process with SIGSYS. Returns the exit code for wrong arguments and --help;
/// otherwise ends the process: 0, or 4 with {"error"}.
int export_main(int argc, char** argv);

} // namespace muster::app
