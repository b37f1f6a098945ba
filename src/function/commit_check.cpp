#include "function/commit_check.h"

#include "base/digest.h"
#include "tls/identity.h"
#include "tls/keys.h"
#include "wire/agreement.h"
#include "wire/recipe.h"

#include <fmt/format.h>

#include <algorithm>

namespace muster::function {
namespace {

Error mismatch(std::string words) {
    return {ErrorCode::invalid_argument, std::move(words)};
}

Result<void> check_members(const Agreement& agreement, const Roster& roster) {
    if (agreement.members.size() != roster.members.size()) {
        return mismatch("the roster has another number of members than the agreement");
    }
    for (std::size_t i = 0; i < roster.members.size(); ++i) {
        const AgreedMember& agreed = agreement.members[i];
        const RosterMember& member = roster.members[i];
        if (agreed.dn != member.dn || agreed.identity != member.identity || agreed.batch_rows != member.batch_rows ||
            agreed.state_share != member.state_share || agreed.stage != member.stage ||
            agreed.rows_from != member.rows_from) {
            return mismatch(fmt::format("member {} of the roster is not the one agreed on", i));
        }
        if (member.identity != tls::job_uri(agreement.job, member.dn)) {
            return mismatch(fmt::format("the identity of member {} does not name job and function", i));
        }
    }
    return {};
}

/// Whether the plan knows who holds the data. Each answers for itself: so nobody gets what a holder would keep by being
/// taken for another one.
Result<void> check_holders(const Agreement& agreement, const OwnView& own) {
    const bool holds = !own.matrix_digest.empty();
    for (const AgreedMember& member : agreement.members) {
        if (member.dn == own.dn && member.holds_data != holds) {
            return mismatch(fmt::format("the plan says that this function {} the data", holds ? "lacks" : "holds"));
        }
        if (!member.holds_data && member.stage.first_block == 0 && member.rows_from.empty()) {
            return mismatch(fmt::format("the plan has {} read rows of data that it does not hold", member.dn));
        }
        const auto kept = std::ranges::find_if(own.sources, [&](const DataSource& source) {
            return !source.may_leave &&
                   std::ranges::find(agreement.sources, source.name, &AgreedSource::name) != agreement.sources.end();
        });
        if (holds && !member.holds_data && member.rows_from.empty() && kept != own.sources.end()) {
            return mismatch(
                fmt::format("rows of \"{}\" may not leave this function, {} holds none", kept->name, member.dn));
        }
    }
    return {};
}

/// What the sender of rows answers for: all that it has encoded goes.
Result<void> check_grants(const AgreedMember& receiver, const OwnView& own) {
    for (const std::string& name : own.proposal.sources) {
        const auto source = std::ranges::find(own.sources, name, &DataSource::name);
        if (source == own.sources.end() || !may_receive_rows(*source, receiver.dn, own.proposal.consumer)) {
            return mismatch(fmt::format("rows of \"{}\" may not be sent to {} for \"{}\" (data[].rows_may_leave)",
                                        name,
                                        receiver.dn,
                                        own.proposal.consumer));
        }
    }
    return {};
}

/// Rows that are shipped: all from one member that holds them, to those that were asked to take them, by leave of the
/// sender.
Result<void> check_rows_from(const Agreement& agreement, const OwnView& own) {
    const auto first =
        std::ranges::find_if(agreement.members, [](const auto& each) { return !each.rows_from.empty(); });
    if (first == agreement.members.end()) {
        return {};
    }
    const auto sender = std::ranges::find(agreement.members, first->rows_from, &AgreedMember::dn);
    if (sender == agreement.members.end() || !sender->holds_data) {
        return mismatch(fmt::format("rows are to come from {}, which does not hold them", first->rows_from));
    }
    if (agreement.micro_rows > 0 || own.proposal.layout != DataLayout::whole) {
        return mismatch("the plan ships rows, but does not have each member train the whole model on whole data");
    }
    for (const AgreedMember& member : agreement.members) {
        if (member.rows_from.empty()) {
            continue;
        }
        if (member.holds_data || member.rows_from != sender->dn) {
            return mismatch(fmt::format("{} is to be sent rows that it holds, or by two members", member.dn));
        }
        if (auto granted = sender->dn == own.dn ? check_grants(member, own) : Result<void>{}; !granted) {
            return granted;
        }
        if (member.dn == own.dn && (!own.proposal.receives_rows || agreement.matrix_digest != own.described_digest)) {
            return mismatch("the plan sends this function rows that it was not asked to take");
        }
    }
    return {};
}

/// Rows that stay here: the plan knows how many they are, and each number that is made of them is made of enough.
Result<void> check_pinned_data(const Agreement& agreement, const OwnView& own, const Policy& policy) {
    const auto self = std::ranges::find(agreement.members, own.dn, &AgreedMember::dn);
    if (self == agreement.members.end() || self->matrix_digest != own.matrix_digest ||
        self->rows != own.training_rows) {
        return mismatch("the encoded data of this function differs from the plan's");
    }
    std::int64_t rows = 0;
    for (const AgreedMember& member : agreement.members) {
        rows += member.rows;
    }
    if (agreement.batch < 1 || rows < 1) {
        return mismatch("the plan has no batches");
    }
    const std::int64_t batches = (rows - 1) / agreement.batch + 1;
    if (const std::int64_t least = own.training_rows / batches; least < policy.group_rows_min) {
        return Error{ErrorCode::resource_exhausted,
                     fmt::format("gradients of its rows would be of {} rows each, fewer than the {} of "
                                 "policy.group_rows_min: a larger batch is needed",
                                 least,
                                 policy.group_rows_min)};
    }
    return {};
}

Result<void> check_data(const Agreement& agreement, const OwnView& own, const Policy& policy) {
    if (own.proposal.layout == DataLayout::pinned) {
        return check_pinned_data(agreement, own, policy);
    }
    if (own.matrix_digest.empty()) {
        return {};
    }
    if (agreement.matrix_digest != own.matrix_digest) {
        return mismatch("the encoded data of this function differs from the plan's");
    }
    for (const AgreedSource& agreed : agreement.sources) {
        const auto source = std::ranges::find(own.sources, agreed.name, &DataSource::name);
        if (source == own.sources.end() || source->digest != agreed.digest) {
            return mismatch(fmt::format("the data source \"{}\" differs from the plan's", agreed.name));
        }
    }
    return {};
}

Result<void> check_terms(const Agreement& agreement, const Commit& commit, const OwnView& own) {
    if (agreement.job != commit.job || commit.roster.job != commit.job || agreement.job != own.proposal.job) {
        return mismatch("the plan is for another job");
    }
    if (agreement.micro_rows != commit.roster.micro_rows) {
        return mismatch("the roster has other micro-batches than the agreement");
    }
    if (agreement.layout != name_of(own.proposal.layout) || commit.roster.layout != own.proposal.layout) {
        return mismatch("the plan has another data layout than was proposed");
    }
    if (agreement.generation != commit.roster.generation || agreement.generation < 1) {
        return mismatch("the plan is for another generation");
    }
    if (agreement.consumer != own.proposal.consumer || agreement.recipe != own.proposal.recipe) {
        return mismatch("consumer or recipe differ from what was proposed");
    }
    if (!own.recipe.empty() && !agreement.recipe.ends_with("@" + sha256_hex(own.recipe))) {
        return mismatch("the recipe that was prepared is not the plan's");
    }
    return {};
}

} // namespace

Result<int> check_commit(const Commit& commit, const OwnView& own, const Policy& policy) {
    if (sha256_hex(commit.agreement) != commit.roster.plan_digest) {
        return mismatch("the plan digest is not that of the agreement");
    }
    auto agreement = wire::agreement_from_text(commit.agreement);
    if (!agreement) {
        return std::move(agreement).error();
    }
    for (auto checked : {check_terms(*agreement, commit, own),
                         check_members(*agreement, commit.roster),
                         check_holders(*agreement, own),
                         check_rows_from(*agreement, own),
                         check_data(*agreement, own, policy)}) {
        if (!checked) {
            return std::move(checked).error();
        }
    }
    std::vector<std::string> peers;
    for (const AgreedMember& member : agreement->members) {
        peers.push_back(member.dn);
    }
    if (const auto peer = forbidden_peer(policy, own.dn, peers)) {
        return Error{ErrorCode::permission_denied, fmt::format("does not work together with {}", *peer)};
    }
    const auto self = std::ranges::find(commit.roster.members, own.dn, &RosterMember::dn);
    if (self == commit.roster.members.end()) {
        return mismatch("this function is not in the roster");
    }
    const auto certificate = tls::inspect(commit.certificate);
    if (!certificate || certificate->identity.uri != self->identity) {
        return mismatch("the job certificate does not carry this function's identity");
    }
    const auto proof = tls::sign_message(own.job_key, commit.roster.plan_digest);
    if (!proof || !tls::verify_message(commit.certificate, commit.roster.plan_digest, *proof)) {
        return mismatch("the job certificate does not belong to this function's job key");
    }
    return static_cast<int>(self - commit.roster.members.begin());
}

} // namespace muster::function
