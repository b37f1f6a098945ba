#include "auth/policy.h"

#include "base/pattern.h"

#include <algorithm>
#include <array>

namespace muster::auth {
namespace {

constexpr std::int64_t priority_highest_number = 65'535; ///< TS 28.105, MLTrainingProcess.priority

struct OperationName {
    Operation operation;
    std::string_view word;
};
constexpr std::array operation_names{OperationName{Operation::create, "create"},
                                     OperationName{Operation::read, "read"},
                                     OperationName{Operation::update, "update"},
                                     OperationName{Operation::remove, "delete"},
                                     OperationName{Operation::subscribe, "subscribe"},
                                     OperationName{Operation::model_download, "model_download"},
                                     OperationName{Operation::recipe, "recipe"},
                                     OperationName{Operation::plan, "plan"},
                                     OperationName{Operation::admin, "admin"},
                                     OperationName{Operation::revoke, "revoke"}};

std::vector<std::string> operation_words() {
    std::vector<std::string> words;
    for (const OperationName& name : operation_names) {
        words.emplace_back(name.word);
    }
    return words;
}

/// One text, or a list of them that is not empty.
std::vector<std::string> one_or_more(wire::Fields& fields, const std::string& name) {
    const wire::Json* value = fields.raw(name);
    if (value != nullptr && value->is_string()) {
        return {fields.text(name)};
    }
    std::vector<std::string> texts = fields.texts(name);
    if (texts.empty()) {
        fields.fail(name, "is required: a text, or a list of texts");
    }
    return texts;
}

/// A pattern that cannot match any SAN is a slip of the pen, and would deny in silence.
std::optional<std::string> mistake_in(const std::string& who) {
    const std::size_t star = who.find('*');
    if (star == std::string::npos) {
        const bool shown_as_san = who.find(':') != std::string::npos;
        const bool ours = who.starts_with("muster:");
        if (!shown_as_san || (ours && tls::parse_identity(who).role == tls::Role::other)) {
            return "\"" + who +
                   "\" is no identity; write a SAN like muster://consumer/oss, DNS:host or a URI, `*` stands for any "
                   "text";
        }
    }
    const std::string_view fixed = std::string_view{who}.substr(0, star);
    constexpr std::array kinds{std::string_view{"muster://consumer/"},
                               std::string_view{"muster://function/"},
                               std::string_view{"muster://producer/"}};
    const auto fits = [&](std::string_view kind) { return fixed.starts_with(kind) || kind.starts_with(fixed); };
    if (fixed.starts_with("muster:") && !std::ranges::any_of(kinds, fits)) {
        return "\"" + who +
               "\" matches nobody; identities are muster://consumer/..., muster://function/... and "
               "muster://producer/... (job certificates are never let in)";
    }
    return std::nullopt;
}

std::string object_text(const std::optional<nrm::Dn>& object) {
    return object ? " " + object->text() : "";
}

} // namespace

std::string_view name_of(Operation operation) noexcept {
    return std::ranges::find(operation_names, operation, &OperationName::operation)->word;
}

Result<Policy::Row> Policy::parse_row(wire::Fields fields) {
    Row row;
    row.who = one_or_more(fields, "who");
    for (std::string& who : row.who) {
        if (const auto mistake = mistake_in(who)) {
            fields.fail("who", *mistake);
        }
        if (const auto identity = tls::parse_identity(who); who.find('*') == std::string::npos) {
            who = identity.uri; // the canonical spelling, as certificates are compared
        }
    }
    for (const std::string& word : one_or_more(fields, "may")) {
        const auto* found = std::ranges::find(operation_names, word, &OperationName::word);
        if (found == operation_names.end()) {
            Error unknown = not_allowed("", word, operation_words());
            fields.fail("may", unknown.text());
            break;
        }
        row.may.push_back(found->operation);
    }
    const auto objects = one_or_more(fields, "on");
    for (const std::string& text : objects) {
        if (text == "*") {
            if (objects.size() > 1) {
                fields.fail("on", "`*` stands for everything and must stand alone");
            }
            continue;
        }
        auto dn = nrm::Dn::parse(text);
        if (dn) {
            row.on.push_back(*std::move(dn));
        } else {
            fields.fail("on", dn.error().message);
        }
    }
    if (fields.raw("priority_min") != nullptr) {
        row.priority_min = fields.integer("priority_min", 0, priority_highest_number);
    }
    if (auto done = fields.finish(); !done) {
        return std::move(done).error();
    }
    return row;
}

Result<tls::Identity> Policy::parse_mapping(const std::string& san, wire::Fields fields) {
    const auto role = fields.choice<tls::Role>(
        "role",
        {{"consumer", tls::Role::consumer}, {"function", tls::Role::function}, {"producer", tls::Role::producer}});
    const std::string name = fields.text("name");
    if (san.starts_with("muster:")) {
        fields.fail("", "an identity of ours speaks for itself; only SANs of another CA are mapped");
    } else if (san.find(':') == std::string::npos) {
        fields.fail("", "\"" + san + "\" is no SAN; write DNS:host, IP:address, email:address or a URI");
    }
    if (role != tls::Role::consumer && !name.empty()) {
        if (const auto dn = nrm::Dn::parse(name); !dn) {
            fields.fail("name", dn.error().message);
        }
    }
    if (auto done = fields.finish(); !done) {
        return std::move(done).error();
    }
    switch (role) {
    case tls::Role::function:
        return tls::parse_identity(tls::function_uri(name));
    case tls::Role::producer:
        return tls::parse_identity(tls::producer_uri(name));
    default:
        return tls::parse_identity(tls::consumer_uri(name));
    }
}

Result<Policy> Policy::parse(const wire::Document& document) {
    Policy policy;
    wire::Fields fields{document.value, "", &document.places};
    wire::Fields identities = fields.child("identities");
    for (const auto& item : identities.json().items()) {
        auto mapped = parse_mapping(item.key(), identities.child(item.key()));
        if (!mapped) {
            return std::move(mapped).error();
        }
        policy.identities_.emplace(item.key(), *std::move(mapped));
    }
    fields.absorb(std::move(identities));
    for (wire::Fields& row_fields : fields.children("rules")) {
        auto row = parse_row(std::move(row_fields));
        if (!row) {
            return std::move(row).error();
        }
        policy.rows_.push_back(*std::move(row));
    }
    if (auto done = fields.finish(); !done) {
        return std::move(done).error();
    }
    return policy;
}

Result<Principal> Policy::recognise(const tls::Identity& verified) const {
    if (verified.role == tls::Role::job) {
        return Error{ErrorCode::permission_denied,
                     "a job certificate opens nothing but its job's data plane; use the enrolled certificate"};
    }
    if (verified.uri.empty()) {
        return Error{ErrorCode::unauthenticated, "the certificate names nobody (no subject alternative name)"};
    }
    const auto mapped = identities_.find(verified.uri);
    return Principal{mapped == identities_.end() ? verified : mapped->second, verified.uri};
}

bool Policy::applies(const Row& row, const Principal& caller, const std::optional<nrm::Dn>& object) const {
    const auto is_caller = [&](const std::string& who) {
        return matches(who, caller.name()) || matches(who, caller.certificate_san());
    };
    const auto holds_object = [&](const nrm::Dn& on) { return object->within(on); };
    return std::ranges::any_of(row.who, is_caller) &&
           (!object || row.on.empty() || std::ranges::any_of(row.on, holds_object));
}

Result<void>
Policy::authorise(const Principal& caller, Operation operation, const std::optional<nrm::Dn>& object) const {
    Error refusal{ErrorCode::permission_denied,
                  caller.name() + " may not " + std::string{name_of(operation)} + object_text(object) +
                      " by the policy of this producer"};
    for (const OperationName& name : operation_names) {
        const auto allows = [&](const Row& row) {
            return std::ranges::find(row.may, name.operation) != row.may.end() && applies(row, caller, object);
        };
        if (std::ranges::any_of(rows_, allows)) {
            if (name.operation == operation) {
                return {};
            }
            refusal.allowed.emplace_back(name.word);
        }
    }
    return refusal;
}

Result<void> Policy::authorise_priority(const Principal& caller, const nrm::Dn& object, std::int64_t priority) const {
    if (auto update = authorise(caller, Operation::update, object); !update) {
        return update;
    }
    std::int64_t most_urgent = priority_highest_number + 1;
    for (const Row& row : rows_) {
        if (std::ranges::find(row.may, Operation::update) != row.may.end() && applies(row, caller, object)) {
            most_urgent = std::min(most_urgent, row.priority_min.value_or(0));
        }
    }
    if (priority < most_urgent) {
        return Error{ErrorCode::permission_denied,
                     caller.name() + " may set priorities of " + std::to_string(most_urgent) +
                         " and above (lower runs first), not " + std::to_string(priority),
                     "/attributes/priority"};
    }
    return {};
}

} // namespace muster::auth
