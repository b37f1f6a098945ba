#include "worker/tree_shares.h"

#include "base/digest.h"
#include "worker/tree_settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <span>

namespace muster::worker {

void require_agreement(collective::Group* group, const std::string& facts) {
    if (group == nullptr) {
        return;
    }
    const std::string own = sha256_hex(facts);
    const std::vector<std::size_t> lengths(static_cast<std::size_t>(group->size()), own.size());
    std::string all(own.size() * lengths.size(), '\0');
    group->all_gather(std::as_bytes(std::span{own}), std::as_writable_bytes(std::span{all}), lengths);
    for (std::size_t rank = 0; rank < lengths.size(); ++rank) {
        require_training(all.substr(rank * own.size(), own.size()) == own,
                         fmt::format("member {} has other data or parameters than member {}", rank, group->rank()));
    }
}

std::vector<std::int64_t> settle_rows(collective::Group* group, const TreeData& data) {
    std::vector<std::int64_t> own{data.own_rows.begin(), data.own_rows.end()};
    std::vector<std::int64_t> counts{static_cast<std::int64_t>(own.size())};
    if (group != nullptr) {
        const std::int64_t count = counts.front();
        counts.resize(static_cast<std::size_t>(group->size()));
        const std::vector<std::size_t> lengths(counts.size(), sizeof count);
        group->all_gather(std::as_bytes(std::span{&count, 1}), std::as_writable_bytes(std::span{counts}), lengths);
    }
    const std::int64_t sum = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
    require_training(sum == static_cast<std::int64_t>(data.training_rows.size()),
                     fmt::format("members have {} rows of {}", sum, data.training_rows.size()));
    const auto needy = static_cast<std::size_t>(std::ranges::count(counts, 0));
    if (needy == 0) {
        return own;
    }
    const auto giver = static_cast<int>(std::ranges::max_element(counts) - counts.begin());
    require_training(counts[static_cast<std::size_t>(giver)] > static_cast<std::int64_t>(needy),
                     fmt::format("{} rows are too few for {} members", sum, counts.size()));
    std::vector<std::int64_t> given(needy);
    if (group->rank() == giver) {
        std::copy(own.end() - static_cast<std::ptrdiff_t>(needy), own.end(), given.begin());
        own.resize(own.size() - needy);
    }
    group->broadcast(std::as_writable_bytes(std::span{given}), giver);
    if (own.empty()) {
        const auto place = std::count(counts.begin(), counts.begin() + group->rank(), 0);
        own.push_back(given[static_cast<std::size_t>(place)]);
    }
    return own;
}

} // namespace muster::worker
