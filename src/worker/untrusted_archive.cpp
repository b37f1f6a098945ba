#include "worker/untrusted_archive.h"

#include "worker/archive_file.h"

#include <ATen/core/ivalue.h>
#include <caffe2/serialize/inline_container.h>
#include <sys/mman.h>
#include <torch/csrc/jit/serialization/import_source.h>
#include <torch/csrc/jit/serialization/unpickler.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

namespace muster::worker {
namespace {

using caffe2::serialize::PyTorchStreamReader;

constexpr std::size_t text_bytes_max = 8U << 20U;      ///< of one file of source, or one pickle, unpacked
constexpr std::size_t text_bytes_all_max = 32U << 20U; ///< of all of them
constexpr std::size_t records_max = 100'000;

[[noreturn]] void refuse(const std::string& why) {
    throw std::invalid_argument{why};
}

/// The archive's bytes.
class MappedFile {
public:
    explicit MappedFile(int fd) : size_{file_bytes(fd)}, at_{::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd, 0)} {
        if (at_ == MAP_FAILED) {
            throw std::system_error{errno, std::generic_category(), "map the archive"};
        }
    }
    ~MappedFile() { ::munmap(at_, size_); }
    MappedFile(const MappedFile&) = delete;
    MappedFile& operator=(const MappedFile&) = delete;

    [[nodiscard]] std::size_t size() const { return size_; }
    [[nodiscard]] void* at(std::size_t offset) const { return static_cast<std::byte*>(at_) + offset; }

private:
    std::size_t size_;
    void* at_;
};

bool holds_class(const c10::TypePtr& type) {
    return type->kind() == c10::TypeKind::ClassType || type->kind() == c10::TypeKind::InterfaceType ||
           type->kind() == c10::TypeKind::AnyType || std::ranges::any_of(type->containedTypes(), holds_class);
}

/// Whether an attribute may have this value: code is compiled for the declared type, and would look for a module's
/// attributes in memory that another one does not have.
bool fits(const c10::TypePtr& type, const c10::IValue& value) {
    switch (type->kind()) {
    case c10::TypeKind::ClassType:
        return value.isObject() && value.toObjectRef().type() == type->cast<c10::ClassType>();
    case c10::TypeKind::TensorType:
        return value.isTensor();
    case c10::TypeKind::BoolType:
        return value.isBool();
    case c10::TypeKind::IntType:
        return value.isInt();
    case c10::TypeKind::FloatType:
        return value.isDouble();
    case c10::TypeKind::StringType:
        return value.isString();
    case c10::TypeKind::NoneType:
        return value.isNone();
    case c10::TypeKind::OptionalType:
        return value.isNone() || fits(type->expectRef<c10::OptionalType>().getElementType(), value);
    case c10::TypeKind::ListType:
        return value.isList() && !holds_class(type);
    case c10::TypeKind::TupleType:
        return value.isTuple() && !holds_class(type);
    case c10::TypeKind::DictType:
        return value.isGenericDict() && !holds_class(type);
    default:
        return false;
    }
}

bool is_text(const std::string& record) {
    return record.ends_with(".py") || record.ends_with(".pkl") || record.ends_with(".debug_pkl");
}

/// One archive while it is read.
class Reading {
public:
    explicit Reading(int fd)
        : reader_{std::make_shared<PyTorchStreamReader>(archive_reader(fd))}, file_{std::make_shared<MappedFile>(fd)} {
        check_records();
    }

    UntrustedArchive read() {
        torch::jit::SourceImporter importer{unit_,
                                            &constants_,
                                            [this](const std::string& name) { return source_of(name); },
                                            static_cast<std::size_t>(reader_->version())};
        importer_ = &importer;
        if (reader_->hasRecord("constants.pkl")) {
            const c10::IValue constants = unpickle("constants");
            if (!constants.isTuple()) {
                refuse("its constants are no tuple");
            }
            for (const c10::IValue& constant : constants.toTupleRef().elements()) {
                constants_.push_back(constant);
            }
        }
        const c10::IValue root = unpickle("data");
        if (!root.isObject()) {
            refuse("its root is no module; save the module itself: torch.jit.script(net).save(\"net.pt\")");
        }
        check_tensors(root);
        for (const c10::IValue& constant : constants_) {
            check_tensors(constant);
        }
        return {unit_, torch::jit::Module{root.toObject()}};
    }

private:
    void check_records() {
        const std::vector<std::string> records = reader_->getAllRecords();
        if (records.size() > records_max) {
            refuse("it has too many records");
        }
        std::size_t text = 0;
        for (const std::string& record : records) {
            const std::size_t bytes = reader_->getRecordSize(record);
            if (record == "model.json") {
                refuse("it is of a PyTorch before 1.0; save it again with a newer one");
            }
            if (is_text(record)) {
                text += bytes;
                if (bytes > text_bytes_max || text > text_bytes_all_max) {
                    refuse("its source is larger than a network's is");
                }
            }
        }
    }

    std::shared_ptr<torch::jit::Source> source_of(const std::string& name) {
        std::string path = name;
        std::ranges::replace(path, '.', '/');
        path = "code/" + path + ".py";
        if (!reader_->hasRecord(path)) {
            return nullptr;
        }
        const auto [data, bytes] = reader_->getRecord(path);
        return std::make_shared<torch::jit::Source>(std::string(static_cast<const char*>(data.get()), bytes), path, 1);
    }

    c10::StrongTypePtr type_of(const c10::QualifiedName& name) {
        const std::string& text = name.qualifiedName();
        if (text.starts_with("__torch__.torch.classes")) {
            refuse("it uses the C++ class " + text + "; a network is made of modules and tensors");
        }
        if (text.starts_with("__torch__.muster.")) {
            refuse("its class " + text + " has a name of Muster's own models; rename its Python module");
        }
        return {unit_, importer_->loadType(name)};
    }

    static c10::intrusive_ptr<c10::ivalue::Object> object_of(const at::StrongTypePtr& type, const c10::IValue& state) {
        const auto of = type.type_->cast<c10::ClassType>();
        if (!of) {
            refuse("it holds an object whose type is no class");
        }
        const std::string name = of->name()->qualifiedName();
        if (of->findMethod("__setstate__") != nullptr || of->findMethod("__getstate__") != nullptr) {
            refuse("the class " + name + " has __setstate__ or __getstate__, which would run while it is loaded");
        }
        if (!of->is_module()) {
            refuse("the class " + name + " is no torch.nn.Module; a network is made of modules and tensors");
        }
        if (!of->getForwardHooks().empty() || !of->getForwardPreHooks().empty()) {
            refuse("the module class " + name + " has hooks; do in forward() what they do");
        }
        if (!state.isGenericDict()) {
            refuse("the state of a " + name + " is no dictionary");
        }
        const auto attributes = state.toGenericDict();
        auto object = c10::ivalue::Object::create(type, of->numAttributes());
        for (std::size_t slot = 0; slot < of->numAttributes(); ++slot) {
            const std::string& attribute = of->getAttributeName(slot);
            const auto found = attributes.find(attribute);
            if (found == attributes.end() || !fits(of->getAttribute(slot), found->value())) {
                refuse("the attribute " + attribute + " of a " + name + " is missing, or is no " +
                       of->getAttribute(slot)->repr_str() + " of tensors, numbers, texts or modules");
            }
            object->setSlot(slot, found->value());
        }
        return object;
    }

    at::DataPtr storage_of(const std::string& record) {
        const std::size_t bytes = reader_->getRecordSize(record);
        const std::size_t offset = reader_->getRecordOffset(record);
        if (offset > file_->size() || bytes > file_->size() - offset) {
            refuse("the record " + record + " is compressed or larger than the archive");
        }
        void* const at = file_->at(offset);
        stored_[at] = std::max(stored_[at], bytes);
        return {at,
                new std::shared_ptr<MappedFile>{file_}, // NOLINT(cppcoreguidelines-owning-memory): at::DataPtr's way
                [](void* file) { delete static_cast<std::shared_ptr<MappedFile>*>(file); }, // NOLINT
                c10::kCPU};
    }

    c10::IValue unpickle(const std::string& name) {
        const auto [data, size] = reader_->getRecord(name + ".pkl");
        const auto* const text = static_cast<const char*>(data.get());
        std::size_t at = 0;
        torch::jit::Unpickler unpickler{
            [text, &at, size = size](char* buffer, std::size_t wanted) {
                const std::size_t count = std::min(wanted, size - at);
                std::memcpy(buffer, text + at, count);
                at += count;
                return count;
            },
            [this](const c10::QualifiedName& type) { return type_of(type); },
            [](const at::StrongTypePtr& type, const c10::IValue& state) { return object_of(type, state); },
            [this, &name](const std::string& key) { return storage_of(name + "/" + key); },
            std::nullopt};
        unpickler.set_version(reader_->version());
        return unpickler.parse_ivalue();
    }

    /// The pickle says how large a storage is, and nobody has asked the record.
    void check_tensors(const c10::IValue& value) const {
        value.visit([this](const c10::IValue& part) {
            if (part.isTensor() && part.toTensor().defined()) {
                check_tensor(part.toTensor());
            }
            return false;
        });
    }

    void check_tensor(const at::Tensor& tensor) const {
        if (!tensor.device().is_cpu() || tensor.layout() != at::kStrided || tensor.is_quantized()) {
            refuse("it holds a tensor that is not dense on the CPU");
        }
        const at::Storage storage = tensor.storage();
        const auto found = stored_.find(storage.data());
        if (storage.nbytes() > 0 && (found == stored_.end() || storage.nbytes() > found->second)) {
            refuse("it declares a tensor that is larger than what is stored of it");
        }
    }

    std::shared_ptr<PyTorchStreamReader> reader_;
    std::shared_ptr<MappedFile> file_;
    std::shared_ptr<torch::jit::CompilationUnit> unit_{std::make_shared<torch::jit::CompilationUnit>()};
    std::vector<c10::IValue> constants_;
    torch::jit::SourceImporter* importer_{};
    std::map<const void*, std::size_t> stored_; ///< bytes of each record that a tensor shows
};

} // namespace

UntrustedArchive read_untrusted_archive(int fd) {
    return Reading{fd}.read();
}

} // namespace muster::worker
