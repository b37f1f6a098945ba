#include "process_group/testing_device.h"

#include <ATen/EmptyTensor.h>
#include <ATen/Functions.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/native/Resize.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/view_as_complex_native.h>
#include <ATen/ops/view_as_real_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <sys/mman.h>
#include <torch/library.h>

#include <atomic>
#include <cerrno>
#include <functional>
#include <map>
#include <mutex>
#include <system_error>
#include <utility>

namespace muster::process_group::testing {
namespace {

constexpr auto type = c10::DeviceType::PrivateUse1;
constexpr c10::DeviceIndex devices = 2;
thread_local c10::DeviceIndex current = 0;
constexpr std::size_t memory_bytes = std::size_t{1} << 30;

/// Blocks of addresses that nobody may touch, each followed by as much memory that stands for it.
class Memory final : public c10::DeviceAllocator {
public:
    c10::DataPtr allocate(std::size_t size) override {
        const std::size_t room = (std::max<std::size_t>(size, 1) + page - 1) / page * page;
        void* const at = ::mmap(nullptr, 2 * room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (at == MAP_FAILED || ::mprotect(static_cast<char*>(at) + room, room, PROT_READ | PROT_WRITE) != 0) {
            throw std::system_error{errno, std::generic_category(), "map a device's memory"};
        }
        const std::scoped_lock lock{mutex_};
        rooms_[at] = room;
        used_ += room;
        peak_ = std::max(peak_, used_);
        return {at, at, &release, c10::Device{type, current}};
    }
    c10::DeleterFnPtr raw_deleter() const override { return &release; }
    void copy_data(void* to, const void* from, std::size_t count) const override {
        std::memcpy(host_address(to), host_address(from), count);
    }

    bool initialized() override { return true; }
    void emptyCache(c10::MempoolId_t /*pool*/) override {}
    void recordStream(const c10::DataPtr& /*data*/, c10::Stream /*stream*/) override {}
    c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex /*device*/) override {
        const std::scoped_lock lock{mutex_};
        c10::CachingDeviceAllocator::DeviceStats stats;
        stats.reserved_bytes[0].peak = static_cast<std::int64_t>(peak_);
        stats.reserved_bytes[0].current = static_cast<std::int64_t>(used_);
        return stats;
    }
    void resetAccumulatedStats(c10::DeviceIndex /*device*/) override {}
    void resetPeakStats(c10::DeviceIndex /*device*/) override {
        const std::scoped_lock lock{mutex_};
        peak_ = used_;
    }
    std::pair<std::size_t, std::size_t> getMemoryInfo(c10::DeviceIndex /*device*/) override {
        const std::scoped_lock lock{mutex_};
        return {memory_bytes - used_, memory_bytes};
    }

    /// What stands for an address within a block.
    [[nodiscard]] void* host_address(const void* address) const {
        const std::scoped_lock lock{mutex_};
        auto after = rooms_.upper_bound(const_cast<void*>(address));
        TORCH_INTERNAL_ASSERT(after != rooms_.begin(), "no address of the device");
        const auto& [begin, room] = *std::prev(after);
        const auto offset = static_cast<const char*>(address) - static_cast<const char*>(begin);
        TORCH_INTERNAL_ASSERT(offset <= static_cast<std::ptrdiff_t>(room), "no address of the device");
        return static_cast<char*>(begin) + room + offset;
    }

private:
    static constexpr std::size_t page = 4096;
    static void release(void* at);

    mutable std::mutex mutex_;
    std::map<void*, std::size_t> rooms_; ///< by their first address
    std::size_t used_{};
    std::size_t peak_{};
};

Memory& memory() {
    static auto* const only = new Memory; // outlives tensors of other statics
    return *only;
}

void Memory::release(void* at) {
    Memory& all = memory();
    const std::scoped_lock lock{all.mutex_};
    const auto found = all.rooms_.find(at);
    ::munmap(at, 2 * found->second);
    all.used_ -= found->second;
    all.rooms_.erase(found);
}

std::atomic<std::int64_t> pinned{0};

/// The host's memory, counted.
class Pinned final : public c10::Allocator {
public:
    c10::DataPtr allocate(std::size_t size) override {
        ++pinned;
        return c10::GetAllocator(at::kCPU)->allocate(size);
    }
    void copy_data(void* to, const void* from, std::size_t count) const override { default_copy_data(to, from, count); }
};

struct Hooks final : at::PrivateUse1HooksInterface {
    bool isBuilt() const override { return true; }
    bool isAvailable() const override { return true; }
    bool hasPrimaryContext(c10::DeviceIndex /*device*/) const override { return true; }
    c10::DeviceIndex deviceCount() const override { return devices; }
    c10::DeviceIndex getCurrentDevice() const override { return current; }
    void setCurrentDevice(c10::DeviceIndex device) const override { current = device; }
    c10::DeviceIndex exchangeDevice(c10::DeviceIndex device) const override { return std::exchange(current, device); }
    c10::DeviceIndex maybeExchangeDevice(c10::DeviceIndex device) const override { return exchangeDevice(device); }
    c10::Allocator* getPinnedMemoryAllocator() const override {
        static Pinned allocator;
        return &allocator;
    }
};

/// One stream of each, on which everything has happened when a call returns.
struct Guard final : c10::impl::DeviceGuardImplInterface {
    c10::DeviceType type() const override { return testing::type; }
    c10::Device exchangeDevice(c10::Device device) const override {
        return {testing::type, std::exchange(current, device.index())};
    }
    c10::Device getDevice() const override { return {testing::type, current}; }
    void setDevice(c10::Device device) const override { current = device.index(); }
    void uncheckedSetDevice(c10::Device device) const noexcept override { current = device.index(); }
    c10::Stream getStream(c10::Device device) const override { return c10::Stream{c10::Stream::DEFAULT, device}; }
    c10::Stream getDefaultStream(c10::Device device) const override {
        return c10::Stream{c10::Stream::DEFAULT, device};
    }
    c10::Stream getStreamFromGlobalPool(c10::Device device, bool /*high*/) const override {
        return c10::Stream{c10::Stream::DEFAULT, device};
    }
    c10::Stream exchangeStream(c10::Stream stream) const override { return stream; }
    c10::DeviceIndex deviceCount() const noexcept override { return devices; }
    void record(void** /*event*/,
                const c10::Stream& /*stream*/,
                c10::DeviceIndex /*device*/,
                c10::EventFlag /*flag*/) const override {}
    void block(void* /*event*/, const c10::Stream& /*stream*/) const override {}
    bool queryEvent(void* /*event*/) const override { return true; }
    void destroyEvent(void* /*event*/, c10::DeviceIndex /*device*/) const noexcept override {}
    bool queryStream(const c10::Stream& /*stream*/) const override { return true; }
    void synchronizeStream(const c10::Stream& /*stream*/) const override {}
    void synchronizeEvent(void* /*event*/) const override {}
    void synchronizeDevice(c10::DeviceIndex /*device*/) const override {}
    void recordDataPtrOnStream(const c10::DataPtr& /*data*/, const c10::Stream& /*stream*/) const override {}
};

constexpr c10::DispatchKeySet keys{c10::DispatchKey::PrivateUse1};

at::Tensor empty(at::IntArrayRef sizes,
                 std::optional<at::ScalarType> dtype,
                 std::optional<at::Layout> /*layout*/,
                 std::optional<at::Device> device,
                 std::optional<bool> /*pinned*/,
                 std::optional<at::MemoryFormat> format) {
    const c10::OptionalDeviceGuard guard{device};
    return at::Tensor{at::detail::empty_generic(sizes, &memory(), keys, c10::dtype_or_default(dtype), format)};
}

at::Tensor empty_strided(at::IntArrayRef sizes,
                         at::IntArrayRef strides,
                         std::optional<at::ScalarType> dtype,
                         std::optional<at::Layout> /*layout*/,
                         std::optional<at::Device> device,
                         std::optional<bool> /*pinned*/) {
    const c10::OptionalDeviceGuard guard{device};
    return at::Tensor{at::detail::empty_strided_generic(sizes, strides, &memory(), keys, c10::dtype_or_default(dtype))};
}

/// The tensor as the processor may touch it.
at::Tensor on_host(const at::Tensor& tensor) {
    if (tensor.is_cpu()) {
        return tensor;
    }
    void* const at = tensor.numel() == 0 ? nullptr : memory().host_address(tensor.const_data_ptr());
    const at::Tensor plain =
        at::from_blob(at, tensor.sizes(), tensor.strides(), at::TensorOptions{}.dtype(tensor.dtype()).device(at::kCPU));
    return tensor.is_conj() ? plain.conj() : plain;
}

at::Tensor copy_from(const at::Tensor& from, const at::Tensor& to, bool /*non_blocking*/) {
    on_host(to).copy_(on_host(from));
    return to;
}

const at::Tensor& resized(const at::Tensor& tensor, at::IntArrayRef sizes, std::optional<at::MemoryFormat> /*format*/) {
    auto* const impl = tensor.unsafeGetTensorImpl();
    const at::Tensor whole = at::empty(sizes, tensor.options());
    if (tensor.numel() != whole.numel()) {
        impl->set_storage_keep_dtype(whole.storage());
    }
    impl->set_sizes_contiguous(sizes);
    return tensor;
}

at::Tensor copy_from_and_resize(const at::Tensor& from, const at::Tensor& to) {
    if (to.sizes() != from.sizes()) {
        resized(to, from.sizes(), std::nullopt);
    }
    return copy_from(from, to, false);
}

at::Scalar number_of(const at::Tensor& tensor) {
    return on_host(tensor).item();
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, library) {
    library.impl("empty.memory_format", &empty);
    library.impl("empty_strided", &empty_strided);
    library.impl("as_strided", &at::native::as_strided_tensorimpl);
    library.impl("view", &at::native::view);
    library.impl("view_as_complex", &at::native::view_as_complex);
    library.impl("view_as_real", &at::native::view_as_real);
    library.impl("_reshape_alias", &at::native::_reshape_alias);
    library.impl("resize_", &resized);
    library.impl("_copy_from", &copy_from);
    library.impl("_copy_from_and_resize", &copy_from_and_resize);
    library.impl("_local_scalar_dense", &number_of);
}

/// Else torch would copy a conjugated tensor before it is copied, for ever.
TORCH_LIBRARY_IMPL(aten, Conjugate, library) {
    library.impl("_copy_from", torch::CppFunction::makeFallthrough());
}

void compute_on_host(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
    at::native::cpu_fallback(op, stack);
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, library) {
    library.fallback(torch::CppFunction::makeFromBoxedFunction<&compute_on_host>());
}

} // namespace

c10::Device stand_in_device(c10::DeviceIndex index) {
    static std::once_flag once;
    std::call_once(once, [] {
        c10::register_privateuse1_backend("stand_in");
        c10::SetAllocator(type, &memory());
        static Guard guard;
        static const c10::impl::DeviceGuardImplRegistrar registrar{type, &guard};
        static Hooks hooks;
        at::RegisterPrivateUse1HooksInterface(&hooks);
    });
    return {type, index};
}

std::int64_t pinned_allocations() {
    return pinned;
}

} // namespace muster::process_group::testing
