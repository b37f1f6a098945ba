#include "worker/archive_file.h"

#include "worker/tree_archive.h"

#include <c10/util/Exception.h>
#include <torch/csrc/jit/serialization/import.h>
#include <unistd.h>

#include <cerrno>
#include <new>
#include <system_error>

namespace muster::worker {
namespace {

/// Reads an open file by position: within the box nothing can be opened.
class DescriptorReader : public caffe2::serialize::ReadAdapterInterface {
public:
    explicit DescriptorReader(int fd) : fd_{fd}, size_{file_bytes(fd)} {}
    [[nodiscard]] std::size_t size() const override { return size_; }
    std::size_t read(std::uint64_t position, void* buffer, std::size_t bytes, const char* /*what*/) const override {
        std::size_t done = 0;
        while (done < bytes) {
            const ssize_t count =
                ::pread(fd_, static_cast<char*>(buffer) + done, bytes - done, static_cast<off_t>(position + done));
            if (count < 0 && errno != EINTR) {
                throw std::system_error{errno, std::generic_category(), "read the model archive"};
            }
            if (count == 0) {
                break;
            }
            done += count > 0 ? static_cast<std::size_t>(count) : 0;
        }
        return done;
    }

private:
    int fd_;
    std::size_t size_;
};

} // namespace

std::size_t file_bytes(int fd) {
    const off_t end = ::lseek(fd, 0, SEEK_END); // the box allows no fstat()
    if (end < 0) {
        throw std::system_error{errno, std::generic_category(), "size of the model archive"};
    }
    return static_cast<std::size_t>(end);
}

std::shared_ptr<caffe2::serialize::ReadAdapterInterface> archive_reader(int fd) {
    return std::make_shared<DescriptorReader>(fd);
}

bool begins_as_trees(int fd) {
    std::string begin(tree_archive_begin.size(), '\0');
    return archive_reader(fd)->read(0, begin.data(), begin.size(), "the model") == begin.size() &&
           begin == tree_archive_begin;
}

torch::jit::Module load_archive(int fd) {
    return torch::jit::load(archive_reader(fd));
}

Result<void>
judge_archive(const std::string& what, const std::string& where, const std::function<Result<void>()>& action) {
    std::string why;
    try {
        return action();
    } catch (const c10::OutOfMemoryError&) {
        throw std::bad_alloc{};
    } catch (const c10::Error& error) {
        why = error.what_without_backtrace();
        if (why.find("not enough memory") != std::string::npos) { // torch's CPU allocator has no type for it
            throw std::bad_alloc{};
        }
    } catch (const std::bad_alloc&) {
        throw;
    } catch (const std::exception& error) { // the interpreter's own types
        why = error.what();
    }
    return Error{ErrorCode::invalid_argument, what + ": " + why, where};
}

} // namespace muster::worker
