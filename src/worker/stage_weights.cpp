#include "worker/stage_weights.h"

#include "worker/archive.h"
#include "worker/families.h"
#include "worker/safetensors.h"
#include "worker/user_model.h"

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <functional>
#include <system_error>

namespace muster::worker {
namespace {

constexpr int tag_weights = 3;

[[noreturn]] void fail(const char* what) {
    throw std::system_error{errno, std::generic_category(), what};
}

/// Length and JSON; its size is known before any weight is.
std::string header_of(const std::vector<ParameterShape>& shapes, const Recipe& recipe) {
    std::vector<TensorEntry> entries;
    for (const ParameterShape& shape : shapes) {
        entries.push_back({shape.name, scalar_type(recipe), shape.sizes});
    }
    return safetensors_header(entries, {{"format", "pt"}, {"recipe", recipe.name + "@" + recipe.digest}});
}

/// A file's bytes as long as it lives.
class Mapping {
public:
    Mapping(int fd, std::size_t size) : size_{size}, at_{::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0)} {
        if (at_ == MAP_FAILED) {
            fail("map the weights");
        }
    }
    ~Mapping() { ::munmap(at_, size_); }
    Mapping(const Mapping&) = delete;
    Mapping& operator=(const Mapping&) = delete;

    /// Lets go of the pages of a part that is not looked at again: mapped or not, they would count as this process's.
    void release(const void* data, std::size_t size) const {
        const auto* const begin = static_cast<const std::byte*>(data);
        const std::less_equal<> not_after;
        if (not_after(at(0), begin) && not_after(begin + size, at(size_))) {
            const auto offset = static_cast<std::size_t>(begin - at(0));
            const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
            const std::size_t first = offset / page * page; // a page that is needed again is read again
            (void)::madvise(at(first), offset + size - first, MADV_DONTNEED);
        }
    }

    [[nodiscard]] std::byte* at(std::size_t offset) const { return static_cast<std::byte*>(at_) + offset; }

private:
    std::size_t size_;
    void* at_;
};

} // namespace

void gather_weights(const ModelProgram& program,
                    const Recipe& recipe,
                    const Preprocessing& preprocessing,
                    const std::vector<ModelStage>& stages,
                    const c10::intrusive_ptr<c10d::ProcessGroup>& group,
                    int fd,
                    const UserModel* user_model) {
    const c10::AutoGradMode no_grad{false};
    const int own = group->getRank();
    if (own == 0) {
        if (::ftruncate(fd, 0) != 0 || ::lseek(fd, 0, SEEK_SET) != 0) {
            fail("empty the file for weights");
        }
        const std::string header = header_of(parameter_shapes(recipe, preprocessing, {}, user_model).value(), recipe);
        write_text(fd, header);
        for (const at::Tensor& parameter : program.parameters()) {
            write_numbers(fd, parameter);
        }
    }
    std::vector<at::Tensor> written{at::zeros({1})};
    const auto chain = static_cast<int>(stages_of_replica(stages)); // the other replicas have the same
    for (int rank = 1; rank < chain; ++rank) {
        const auto shapes =
            parameter_shapes(recipe, preprocessing, stages[static_cast<std::size_t>(rank)], user_model).value();
        for (std::size_t i = 0; i < shapes.size(); ++i) {
            if (own == 0) {
                std::vector<at::Tensor> tensors{at::empty(shapes[i].sizes, scalar_type(recipe))};
                group->recv(tensors, rank, tag_weights)->wait();
                write_numbers(fd, tensors[0]);
            } else if (own == rank) {
                std::vector<at::Tensor> tensors{program.parameters()[i].detach().contiguous()};
                group->send(tensors, 0, tag_weights)->wait();
            }
            group->allreduce(written)->wait();
        }
    }
}

void export_gathered(
    const Recipe& recipe, const Preprocessing& preprocessing, int weights_fd, int fd, const UserModel* user_model) {
    const c10::AutoGradMode no_grad{false};
    const auto shapes =
        parameter_shapes(recipe, preprocessing, {}, user_model).value(); // the stages of this model were built
    const std::size_t header = header_of(shapes, recipe).size();
    const auto bytes = static_cast<std::size_t>(elements_of(shapes) * number_bytes(recipe));
    const Mapping weights{weights_fd, header + bytes};
    const torch::jit::Module module =
        user_model != nullptr ? user_model->module(Weights::absent).value() : build_for_use(recipe, preprocessing);
    std::size_t offset = header;
    for (const ParameterShape& shape : shapes) {
        set_parameter(module, shape.name, at::from_blob(weights.at(offset), shape.sizes, scalar_type(recipe)));
        offset += static_cast<std::size_t>(shape.elements() * number_bytes(recipe));
    }
    write_archive(module, recipe, preprocessing, fd, [&weights](const void* data, std::size_t size) {
        weights.release(data, size);
    });
}

} // namespace muster::worker
