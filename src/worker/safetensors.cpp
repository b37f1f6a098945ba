#include "worker/safetensors.h"

#include <nlohmann/json.hpp>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstddef>
#include <functional>
#include <numeric>
#include <span>
#include <system_error>

namespace muster::worker {
namespace {

static_assert(std::endian::native == std::endian::little, "numbers go to the file as they are in memory");

constexpr std::size_t alignment = 64;
constexpr std::size_t length_bytes = 8;

void write_all(int fd, std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const ssize_t written = ::write(fd, bytes.data(), bytes.size());
        if (written < 0 && errno != EINTR) {
            throw std::system_error{errno, std::generic_category(), "write the weights"};
        }
        bytes = bytes.subspan(written > 0 ? static_cast<std::size_t>(written) : 0);
    }
}

std::int64_t bytes_of(const TensorEntry& tensor) {
    return std::accumulate(tensor.sizes.begin(),
                           tensor.sizes.end(),
                           static_cast<std::int64_t>(c10::elementSize(tensor.type)),
                           std::multiplies{});
}

} // namespace

std::string safetensors_type(at::ScalarType type) {
    switch (type) {
    case at::kDouble:
        return "F64";
    case at::kFloat:
        return "F32";
    case at::kHalf:
        return "F16";
    case at::kBFloat16:
        return "BF16";
    case at::kLong:
        return "I64";
    case at::kInt:
        return "I32";
    case at::kShort:
        return "I16";
    case at::kChar:
        return "I8";
    case at::kByte:
        return "U8";
    case at::kBool:
        return "BOOL";
    default:
        return "";
    }
}

std::string safetensors_header(const std::vector<TensorEntry>& tensors,
                               const std::map<std::string, std::string>& metadata) {
    nlohmann::json header{{"__metadata__", metadata}};
    std::int64_t offset = 0;
    for (const TensorEntry& tensor : tensors) {
        const std::int64_t end = offset + bytes_of(tensor);
        header[tensor.name] = {
            {"dtype", safetensors_type(tensor.type)}, {"shape", tensor.sizes}, {"data_offsets", {offset, end}}};
        offset = end;
    }
    std::string text = header.dump();
    text.append((alignment - (length_bytes + text.size()) % alignment) % alignment, ' ');
    std::string length(length_bytes, '\0');
    for (std::size_t i = 0; i < length_bytes; ++i) {
        length[i] = static_cast<char>(text.size() >> (8 * i) & 0xFFU);
    }
    return length + text;
}

void write_numbers(int fd, const at::Tensor& tensor) {
    const at::Tensor rows = tensor.contiguous();
    write_all(fd, {static_cast<const std::byte*>(rows.const_data_ptr()), rows.nbytes()});
}

void write_text(int fd, const std::string& text) {
    write_all(fd, std::as_bytes(std::span{text}));
}

} // namespace muster::worker
