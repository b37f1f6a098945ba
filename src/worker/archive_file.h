/// Opens model archives, which may come from anybody: see sandbox.h.
#pragma once

#include "base/result.h"

#include <caffe2/serialize/read_adapter_interface.h>
#include <torch/csrc/jit/api/module.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

namespace muster::worker {

/// Bytes of an open file. Moves its position. Throws std::system_error.
[[nodiscard]] std::size_t file_bytes(int fd);

/// Whether the file is one of boosted trees (tree_archive.h). Throws std::system_error.
[[nodiscard]] bool begins_as_trees(int fd);

/// Reads an open file by position, because in a closed box nothing can be opened. Throws std::system_error.
[[nodiscard]] std::shared_ptr<caffe2::serialize::ReadAdapterInterface> archive_reader(int fd);

/// Loads an archive from an open file, which is read by position, because in a closed box nothing can be opened.
/// Throws what torch throws when it is none; call it within judge_archive().
[[nodiscard]] torch::jit::Module load_archive(int fd);

/// Runs what an archive from outside may make fail: whatever `action` throws says that the archive is wrong, with
/// `what` before and `where` as the place, except that memory ran out. Throws std::bad_alloc.
[[nodiscard]] Result<void>
judge_archive(const std::string& what, const std::string& where, const std::function<Result<void>()>& action);

/// The same for an action with a value.
template <typename Value>
[[nodiscard]] Result<Value>
judge_archive(const std::string& what, const std::string& where, const std::function<Result<Value>()>& action) {
    Result<Value> value{Error{}};
    auto judged = judge_archive(what, where, [&]() -> Result<void> {
        value = action();
        return {};
    });
    return judged ? std::move(value) : Result<Value>{std::move(judged).error()};
}

} // namespace muster::worker
