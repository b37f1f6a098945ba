/// muster-worker check-model: whether a TorchScript archive of a user can be trained.
#pragma once

namespace muster::app {

/// Checks an archive in a sandbox closed before the archive is opened, and prints what it holds as one line of JSON.
/// With the sizes of rows and outputs it is run as well. Returns the process's exit status.
[[nodiscard]] int check_model_main(int argc, char** argv);

} // namespace muster::app
