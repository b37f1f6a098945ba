/// The file format safetensors: a length, a JSON header with names, types and places, the numbers.
///   8 bytes   length of the header, little endian
///   header    JSON: {"NAME": {"dtype", "shape", "data_offsets": [begin, end]}, ..., "__metadata__": {text: text}},
///   filled
///             with spaces so that the numbers begin at a multiple of 64
///   numbers   little endian, row-major, one tensor behind the other without a gap; offsets count from here
/// Source: the format's description at https://github.com/huggingface/safetensors (version 0.8).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace muster::worker {

/// A tensor's row in the header.
struct TensorEntry {
    std::string name; ///< each once, and not "__metadata__"
    at::ScalarType type{};
    std::vector<std::int64_t> sizes;
};

/// The format's name of a number type, e.g. "F32"; "" when it has none.
[[nodiscard]] std::string safetensors_type(at::ScalarType type);

/// Length and header of a file with these tensors, in this order. The types must have a name; wider ones should come
/// first, so that each tensor begins at a multiple of its number's size.
/// Throws nlohmann::json::exception when a text is not UTF-8.
[[nodiscard]] std::string safetensors_header(const std::vector<TensorEntry>& tensors,
                                             const std::map<std::string, std::string>& metadata);

/// Appends a dense CPU tensor's numbers to `fd`; one that is not row-major is copied first.
/// Throws std::system_error when writing fails.
void write_numbers(int fd, const at::Tensor& tensor);

/// Appends `text` to `fd`. Throws std::system_error when writing fails.
void write_text(int fd, const std::string& text);

} // namespace muster::worker
