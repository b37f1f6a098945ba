#include "worker/session_rows.h"

#include "shipping/shipment.h"
#include "wire/preprocessing.h"

#include <fcntl.h>

#include <algorithm>
#include <array>

namespace muster::worker {
namespace {

constexpr auto progress_every = std::chrono::milliseconds{500};

std::array<int, 4> in_order(const MatrixDescriptors& files) {
    return {files.train_features, files.train_target, files.test_features, files.test_target};
}

std::span<const std::byte> bytes_of(const MappedFloats& numbers) {
    return std::as_bytes(numbers.values());
}

/// In the order of parts_of().
std::vector<shipping::Cargo> cargo_of(const MatrixSet& matrices) {
    std::vector<shipping::Cargo> cargo{{"train.features", bytes_of(matrices.train.features)},
                                       {"train.target", bytes_of(matrices.train.target)}};
    if (matrices.test.rows > 0) {
        cargo.push_back({"test.features", bytes_of(matrices.test.features)});
        cargo.push_back({"test.target", bytes_of(matrices.test.target)});
    }
    return cargo;
}

/// Who does what, by rank.
struct Roles {
    int sender{-1};
    std::vector<int> receivers{};
    std::vector<int> bystanders{};
};

/// Errors: invalid_argument, when rows are to come from several members or from nobody.
Result<Roles> roles_in(const Roster& roster) {
    Roles roles;
    std::string from;
    for (int rank = 0; rank < static_cast<int>(roster.members.size()); ++rank) {
        const std::string& rows_from = roster.members[static_cast<std::size_t>(rank)].rows_from;
        (rows_from.empty() ? roles.bystanders : roles.receivers).push_back(rank);
        if (!rows_from.empty() && !from.empty() && rows_from != from) {
            return Error{ErrorCode::invalid_argument,
                         "the roster has two members ship rows: " + from + " and " + rows_from};
        }
        from = rows_from.empty() ? from : rows_from;
    }
    const auto sender = std::ranges::find_if(
        roles.bystanders, [&](int rank) { return roster.members[static_cast<std::size_t>(rank)].dn == from; });
    if (sender == roles.bystanders.end()) {
        return Error{ErrorCode::invalid_argument, "the roster has rows come from " + from + ", which is no holder"};
    }
    roles.sender = *sender;
    roles.bystanders.erase(sender);
    return roles;
}

Shipment shipment_of(const shipping::Receipt& receipt, const Roster& roster) {
    return {.from = roster.members[static_cast<std::size_t>(receipt.from)].dn,
            .to = roster.members[static_cast<std::size_t>(receipt.to)].dn,
            .bytes = receipt.bytes,
            .resumed_from = receipt.resumed_from,
            .digest = receipt.digest,
            .seconds = receipt.seconds};
}

Result<std::vector<shipping::Receipt>> do_part(collective::Group& group,
                                               const Roles& roles,
                                               const SessionData& data,
                                               shipping::Landing* landing,
                                               const shipping::ShipmentSettings& settings) {
    using Receipts = std::vector<shipping::Receipt>;
    if (group.rank() == roles.sender) {
        if (!data.matrices.train.held) {
            return Error{ErrorCode::invalid_argument, "the roster has this function ship rows that it does not hold"};
        }
        return shipping::ship(
            group, cargo_of(data.matrices), roles.receivers, roles.bystanders, settings, shipping::system_pace());
    }
    if (std::ranges::find(roles.receivers, group.rank()) == roles.receivers.end()) {
        const auto others = shipping::stand_by(group, roles.sender);
        return others ? Result<Receipts>{Receipts{}} : others.error();
    }
    if (landing == nullptr) {
        return Error{ErrorCode::invalid_argument, "rows are shipped here and there are no files for them"};
    }
    auto receipt = shipping::receive(group, roles.sender, *landing, settings, shipping::system_pace());
    return receipt ? Result<Receipts>{Receipts{*receipt}} : std::move(receipt).error();
}

} // namespace

Result<std::optional<shipping::Landing>> open_landing(const SessionJobSettings& settings,
                                                      const DataElsewhere& described) {
    const auto files = in_order(settings.landing);
    if (std::ranges::all_of(files, [](int file) { return file < 0; })) {
        return std::optional<shipping::Landing>{};
    }
    std::vector<shipping::LandingPart> parts;
    for (const MatrixPart& part : parts_of(described.matrix)) {
        const int file = files.at(parts.size());
        if (file < 0) {
            return Error{ErrorCode::invalid_argument, std::string{"no file for "} + part.name};
        }
        parts.push_back({part.name, part.bytes, UniqueFd{file}});
    }
    auto landing =
        shipping::Landing::over(std::move(parts),
                                described.matrix.digest,
                                [preprocessing = described.preprocessing](const std::vector<std::string>& digests) {
                                    return wire::matrix_digest(digests, preprocessing);
                                });
    return landing ? Result<std::optional<shipping::Landing>>{std::optional{std::move(*landing)}}
                   : std::move(landing).error();
}

Result<SessionData> landed(const shipping::Landing& landing, const DataElsewhere& described) {
    MatrixDescriptors files;
    const std::array<int*, 4> places{
        &files.train_features, &files.train_target, &files.test_features, &files.test_target};
    for (std::size_t i = 0; i < landing.parts().size(); ++i) {
        *places.at(i) = landing.parts()[i].file.get();
    }
    auto matrices = map_matrices(files, described.matrix);
    if (!matrices) {
        return std::move(matrices).error();
    }
    return SessionData{std::move(*matrices), described.matrix, described.preprocessing};
}

bool ships_rows(const Roster& roster) {
    return std::ranges::any_of(roster.members, [](const RosterMember& member) { return !member.rows_from.empty(); });
}

Result<std::vector<Shipment>> exchange_rows(collective::Group& group,
                                            const Roster& roster,
                                            const SessionData& data,
                                            shipping::Landing* landing,
                                            const RowsOrder& order) {
    const auto roles = roles_in(roster);
    if (!roles) {
        return roles.error();
    }
    shipping::ShipmentSettings settings;
    settings.bytes_per_second_max = order.bytes_per_second_max;
    settings.on_arrival = [&, due = SteadyTime{}](const shipping::Landing& arriving) mutable {
        if (const SteadyTime now = std::chrono::steady_clock::now(); order.on_arrival && now >= due) {
            due = now + progress_every;
            order.on_arrival(arriving.arrived(), arriving.bytes());
        }
    };
    try {
        const auto receipts = do_part(group, *roles, data, landing, settings);
        if (!receipts) {
            return receipts.error();
        }
        std::vector<Shipment> shipments;
        for (const shipping::Receipt& receipt : *receipts) {
            shipments.push_back(shipment_of(receipt, roster));
        }
        return shipments;
    } catch (const collective::GroupFailed& failed) {
        return Error{ErrorCode::unavailable, failed.what()};
    }
}

} // namespace muster::worker
