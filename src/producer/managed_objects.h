/// ManagedObjects on the object tree: the write rules of each class, tombstones, audit.
#pragma once

#include "base/clock.h"
#include "port/artefacts.h"
#include "port/store.h"
#include "producer/job_intake.h"
#include "producer/management.h"
#include "producer/object_tree.h"
#include "producer/recipes.h"
#include "producer/settings.h"

#include <optional>
#include <string>

namespace muster::producer {

/// Safe from any thread. Methods that write throw StoreDown when the store cannot.
class TreeManagement final : public ManagedObjects {
public:
    /// What it works on; all outlive it.
    struct Parts {
        ObjectTree& tree;
        Store& store;
        Recipes& recipes;
        JobIntake& intake;
        Artefacts& artefacts;
        Clock& clock;
        const Settings& settings;
    };
    explicit TreeManagement(Parts parts) : parts_{parts} {}

    WriteResult put(const nrm::Dn& dn, const nrm::Json& body, const std::string& caller) override;
    WriteResult post(const nrm::Dn& parent, const nrm::Json& body, const std::string& caller) override;
    WriteResult merge_patch(const nrm::Dn& dn, const nrm::Json& patch, const std::string& caller) override;
    WriteResult remove(const nrm::Dn& dn, const std::string& caller) override;
    Result<std::vector<nrm::Object>> read(const nrm::Dn& base, const nrm::Scope& scope) override;

private:
    /// One write inside a transaction: fills `answer`, or returns why not.
    using Attempt = std::optional<Refusal>;
    struct Creation {
        Attempt refusal{};
        std::optional<Job> job{};
    };
    Creation create(Transaction& transaction, const nrm::Dn& dn, const nrm::Json& body, const std::string& caller);
    Attempt replace(Transaction& transaction, const nrm::Object& current, const nrm::Json& body);
    Attempt patch(Transaction& transaction, const nrm::Object& current, const nrm::Json& body);
    Attempt change(Transaction& transaction, const nrm::Object& current, nrm::Json attributes);
    Attempt erase(Transaction& transaction, const nrm::Object& current);
    Attempt check_place(const Transaction& transaction, const nrm::Dn& dn);
    Attempt check_tombstone(const nrm::Dn& dn, const nrm::Json& attributes);
    Job make_job(const nrm::Dn& dn, const nrm::Json& attributes, const Recipe& recipe, const std::string& caller);
    void audit(const char* operation, const std::string& dn, const std::string& caller, const WriteResult& result);

    Parts parts_;
};

/// SHA-256 of what a request asks for, without its state: equal digests, the same request.
[[nodiscard]] std::string content_digest(const nrm::Json& request_attributes);
/// The process, or with another class name the report, of a request: beside it with the same id.
[[nodiscard]] nrm::Dn beside(const nrm::Dn& request, const std::string& class_name);
/// The record that keeps a deleted request's id from being used again.
[[nodiscard]] Write tombstone_of(const nrm::Object& request, const std::string& report, const std::string& outcome);

} // namespace muster::producer
