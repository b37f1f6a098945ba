#include "bench_trees.h"

#include "base/file.h"
#include "process_group/loopback_groups.h"
#include "worker/boosted_trees.h"
#include "worker/ranks.h"

#include <cmath>
#include <cstring>
#include <latch>
#include <numeric>
#include <stdexcept>
#include <vector>

namespace muster::bench {
namespace {

constexpr std::uintmax_t file_bytes_max = std::uintmax_t{8} << 30U;

struct Table {
    std::vector<float> features;
    std::vector<float> target;
    std::vector<std::int64_t> rows;
};

Table read_table(const TreeTask& task) {
    const auto text = read_file(task.file, file_bytes_max);
    if (!text) {
        throw std::runtime_error{text.error().text()};
    }
    const auto width = static_cast<std::size_t>(task.columns) + 1;
    const std::size_t rows = text->size() / sizeof(float) / width;
    std::vector<float> numbers(rows * width);
    std::memcpy(numbers.data(), text->data(), numbers.size() * sizeof(float));
    Table table;
    for (std::size_t row = 0; row < rows; ++row) {
        const auto first = numbers.begin() + static_cast<std::ptrdiff_t>(row * width);
        table.features.insert(table.features.end(), first, first + task.columns);
        table.target.push_back(first[task.columns]);
    }
    table.rows.resize(rows);
    std::iota(table.rows.begin(), table.rows.end(), 0);
    return table;
}

double rmse(const worker::BoostedTrees& trees, const Table& table) {
    const auto made = trees.predict_raw(table.rows);
    double squares = 0.0;
    for (std::size_t i = 0; i < made.size(); ++i) {
        squares += (made[i] - table.target[i]) * (made[i] - table.target[i]);
    }
    return std::sqrt(squares / static_cast<double>(made.size()));
}

} // namespace

nlohmann::json time_trees(const TreeTask& task) {
    const Table table = read_table(task);
    nlohmann::json answer;
    std::latch ready{task.members};
    const auto member = [&](int rank, collective::Group* group) {
        const auto all = static_cast<std::int64_t>(table.rows.size());
        const auto begin = static_cast<std::size_t>(all * rank / task.members);
        const auto end = static_cast<std::size_t>(all * (rank + 1) / task.members);
        worker::BoostedTrees trees{{.features = table.features,
                                    .columns = task.columns,
                                    .target = table.target,
                                    .training_rows = table.rows,
                                    .own_rows = std::span{table.rows}.subspan(begin, end - begin)},
                                   {.loss = worker::TreeLoss::l2},
                                   {.trees = task.trees + task.trees / 4, .seed = 1, .threads = 1},
                                   group};
        for (int i = 0; i < task.trees / 4; ++i) {
            trees.grow();
        }
        ready.arrive_and_wait();
        const auto started = std::chrono::steady_clock::now();
        while (trees.grow()) {
        }
        const double seconds = worker::seconds_between(started, std::chrono::steady_clock::now());
        if (rank == 0) {
            answer = {{"seconds_per_tree", seconds / task.trees}, {"rmse", rmse(trees, table)}};
        }
    };
    if (task.members == 1) {
        member(0, nullptr);
    } else {
        process_group::testing::run_ranks(
            task.members,
            [&](const std::shared_ptr<collective::Group>& group) { member(group->rank(), group.get()); },
            std::chrono::seconds{120});
    }
    return answer;
}

} // namespace muster::bench
