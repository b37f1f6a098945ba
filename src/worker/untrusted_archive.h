/// Reads a TorchScript archive of anybody without running anything of it.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <memory>

namespace muster::worker {

/// What is in the archive: its functions, compiled, and its root module with all attributes.
struct UntrustedArchive {
    std::shared_ptr<torch::jit::CompilationUnit> unit;
    torch::jit::Module root;
};

/// Reads the archive from an open file, in a closed box (sandbox.h): that the parser can be broken is the box's task.
/// torch::jit::load would run __setstate__ of any class; here such classes, classes that are no modules, C++ classes
/// and hooks are refused before their code runs. Tensors are not read: they are views of the mapped file, read-only,
/// which lives as long as one of them. That each lies within what is stored of it is checked.
/// Throws what torch throws, and std::invalid_argument: call it within judge_archive().
[[nodiscard]] UntrustedArchive read_untrusted_archive(int fd);

} // namespace muster::worker
