/// Where the other programs and the examples are.
#pragma once

#include "base/result.h"

#include <filesystem>
#include <string>

namespace muster::app {

/// The running program's own file.
[[nodiscard]] std::filesystem::path own_program();
/// A program beside this one ("muster-worker", "muster-data"). Errors: not_found, with the remedy.
[[nodiscard]] Result<std::filesystem::path> sibling(const std::string& name);
/// A program as a shell finds it: a path when `name` has a slash, else the first in $PATH. Errors: not_found.
[[nodiscard]] Result<std::filesystem::path> program_in_path(const std::string& name);
/// The folder of the Python package that makes ONNX files: the source tree this was built in, or share/muster/python
/// beside bin/. Errors: not_found, naming the places.
[[nodiscard]] Result<std::filesystem::path> onnx_package();
/// The folder of an example: $MUSTER_EXAMPLES, the source tree this was built in, or share/muster/examples beside bin/.
/// Errors: not_found, naming the places.
[[nodiscard]] Result<std::filesystem::path> example_folder(const std::string& name);

} // namespace muster::app
