#include "worker/compute_device.h"

#include <ATen/Context.h>
#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <dlfcn.h>

#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <system_error>

namespace muster::worker {
namespace {

constexpr int index_max = 63;
constexpr std::int64_t warm_up_size = 256; ///< of a square matrix, so that the products' library is loaded

Error not_there(c10::Device device, const std::string& why) {
    return {ErrorCode::unavailable, device.str() + " was asked for, but " + why, "--device"};
}

/// Where this program's libtorch lies.
std::filesystem::path torch_folder() {
    Dl_info torch{};
    const bool found = ::dladdr(reinterpret_cast<const void*>(&at::globalContext), &torch) != 0;
    return found && torch.dli_fname != nullptr ? std::filesystem::path{torch.dli_fname}.parent_path()
                                               : std::filesystem::path{};
}

Result<void> check_cuda(c10::Device device) {
    const int devices = at::globalContext().hasCUDA() ? at::detail::getCUDAHooks().deviceCount() : 0;
    if (devices == 0) {
        return not_there(device, "this machine has no GPU, or no driver for it (does nvidia-smi list it?)");
    }
    if (device.index() >= devices) {
        return not_there(device, "the machine has " + std::to_string(devices) + " GPU(s)");
    }
    return {};
}

/// Products in both number types, their way back, and pinned memory.
void compute_a_little(c10::Device device) {
    for (const at::ScalarType type : {at::kFloat, at::kDouble, at::kBFloat16}) {
        const at::Tensor square = at::ones({warm_up_size, warm_up_size}, at::TensorOptions{device}.dtype(type));
        const at::Tensor product = at::mm(square, square);
        at::Tensor host = at::empty(product.sizes(), at::TensorOptions{}.dtype(type).pinned_memory(true));
        host.copy_(product);
        TORCH_CHECK(host.eq(static_cast<double>(warm_up_size)).all().item<bool>(), "a product came out wrong");
    }
}

} // namespace

Result<c10::Device> parse_device(const std::string& name) {
    if (name == "cpu") {
        return c10::Device{c10::DeviceType::CPU};
    }
    const std::string prefix = "cuda";
    int index = 0;
    bool fits = name.starts_with(prefix);
    if (fits && name.size() > prefix.size()) {
        const char* const begin = name.data() + prefix.size() + 1;
        const char* const end = name.data() + name.size();
        const auto [at, error] = std::from_chars(begin, end, index);
        fits = name[prefix.size()] == ':' && begin < end && error == std::errc{} && at == end && index >= 0 &&
               index <= index_max;
    }
    if (!fits) {
        return Error{ErrorCode::invalid_argument,
                     "\"" + name + "\" is no device (allowed: cpu, cuda, cuda:0 to cuda:" + std::to_string(index_max) +
                         ")",
                     "device"};
    }
    return c10::Device{c10::DeviceType::CUDA, static_cast<c10::DeviceIndex>(index)};
}

Result<void> load_device(c10::Device device) {
    if (!device.is_cuda()) {
        return {};
    }
    // Not linked: workers without a GPU would read and map gigabytes for nothing.
    const auto library = torch_folder() / "libtorch_cuda.so";
    if (!std::filesystem::exists(library)) {
        return not_there(device, "the libtorch in " + torch_folder().string() + " was built without CUDA");
    }
    // All kernels at once, and none compiled or kept in the user's folder: later the box forbids files. There is one
    // thread now.
    ::setenv("CUDA_MODULE_LOADING", "EAGER", 1); // NOLINT(concurrency-mt-unsafe)
    ::setenv("CUDA_CACHE_DISABLE", "1", 1);      // NOLINT(concurrency-mt-unsafe)
    if (::dlopen(library.c_str(), RTLD_NOW | RTLD_GLOBAL) == nullptr) {
        const char* const why = ::dlerror(); // NOLINT(concurrency-mt-unsafe)
        return not_there(device, std::string{"CUDA does not load: "} + (why != nullptr ? why : "no reason is known"));
    }
    return {};
}

Result<void> start_device(c10::Device device) {
    if (device.is_cpu()) {
        return {};
    }
    if (device.is_cuda()) {
        if (auto checked = check_cuda(device); !checked) {
            return checked;
        }
    }
    try {
        compute_a_little(device);
    } catch (const c10::Error& error) { // the boundary to the driver
        const std::string why = error.what_without_backtrace();
        return Error{ErrorCode::unavailable, device.str() + " does not compute: " + why, "--device"};
    }
    return {};
}

std::optional<DriverFiles> driver_files(c10::Device device) {
    if (device.is_cpu()) {
        return std::nullopt;
    }
    DriverFiles files;
    std::error_code none;
    for (const auto& entry : std::filesystem::directory_iterator{"/dev", none}) {
        if (entry.path().filename().string().starts_with("nvidia") && !entry.is_directory(none)) {
            files.devices.push_back(entry.path());
        }
    }
    files.readable = {"/dev/urandom", // torch itself, for the generators of devices
                      "/sys",
                      "/proc/self",
                      "/proc/driver",
                      "/proc/devices",
                      "/proc/modules",
                      "/proc/cpuinfo",
                      "/proc/meminfo",
                      "/etc/ld.so.cache",
                      "/lib",
                      "/lib64",
                      "/usr/lib",
                      "/usr/lib64"};
    // CUDA's own libraries lie beside libtorch, in its folder or, as wheels, beside that of the package.
    const auto libraries = torch_folder();
    files.readable.push_back(libraries);
    files.readable.push_back(libraries.parent_path().parent_path() / "nvidia");
    return files;
}

Processor processor_of(c10::Device device) {
    return device.is_cpu() ? Processor::here() : Processor{.bf16 = true};
}

std::int64_t device_memory_bytes(c10::Device device) {
    return device.is_cpu() ? 0
                           : static_cast<std::int64_t>(
                                 c10::getDeviceAllocator(device.type())->getMemoryInfo(device.index()).second);
}

std::int64_t device_peak_bytes(c10::Device device) {
    // Of what the allocator has reserved: that is what others cannot use.
    return device.is_cpu()
               ? 0
               : c10::getDeviceAllocator(device.type())->getDeviceStats(device.index()).reserved_bytes[0].peak;
}

} // namespace muster::worker
