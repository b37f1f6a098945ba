#include "worker/text_baselines.h"

#include <algorithm>
#include <cmath>

namespace muster::worker {
namespace {

std::size_t token_at(const Matrix& matrix, std::int64_t row) {
    return static_cast<std::size_t>(*matrix.row(row));
}

/// Calls `each` with every token and its next one.
template <typename Each>
void for_each_pair(const Matrix& matrix, std::span<const std::int64_t> samples, std::int64_t sequence, Each each) {
    for (const std::int64_t first : samples) {
        for (std::int64_t row = first; row < first + sequence; ++row) {
            each(token_at(matrix, row), static_cast<std::size_t>(matrix.target_of(row)));
        }
    }
}

/// Counts of the training text.
class Counts {
public:
    Counts(std::size_t vocabulary, bool pairs)
        : vocabulary_{vocabulary}, singles_(vocabulary, 1.0), pairs_(pairs ? vocabulary * vocabulary : 0),
          firsts_(vocabulary), followers_(vocabulary), total_{static_cast<double>(vocabulary)} {}

    void add(std::size_t token, std::size_t next) {
        singles_[next] += 1.0;
        total_ += 1.0;
        if (!pairs_.empty()) {
            auto& count = pairs_[token * vocabulary_ + next];
            followers_[token] += count == 0.0 ? 1.0 : 0.0;
            count += 1.0;
            firsts_[token] += 1.0;
        }
    }

    [[nodiscard]] double single(std::size_t next) const { return singles_[next] / total_; }
    [[nodiscard]] double pair(std::size_t token, std::size_t next) const {
        const double other = followers_[token];
        return firsts_[token] == 0.0
                   ? single(next)
                   : (pairs_[token * vocabulary_ + next] + other * single(next)) / (firsts_[token] + other);
    }

    [[nodiscard]] std::size_t likeliest() const { return position_of_largest(singles_); }
    [[nodiscard]] std::size_t likeliest_after(std::size_t token) const {
        return firsts_[token] == 0.0 ? likeliest()
                                     : position_of_largest(std::span{pairs_}.subspan(token * vocabulary_, vocabulary_));
    }

private:
    static std::size_t position_of_largest(std::span<const double> values) {
        return static_cast<std::size_t>(std::ranges::max_element(values) - values.begin());
    }

    std::size_t vocabulary_;
    std::vector<double> singles_; ///< one more than counted
    std::vector<double> pairs_;
    std::vector<double> firsts_;    ///< how often a token was followed
    std::vector<double> followers_; ///< by how many different ones
    double total_;
};

/// Scores of what gives `probability(token, next)` and guesses `guess(token)`.
template <typename Probability, typename Guess>
std::vector<Score> scores_on(const RowSet& set, std::int64_t sequence, Probability probability, Guess guess) {
    double loss = 0.0;
    double right = 0.0;
    for_each_pair(*set.matrix, set.rows, sequence, [&](std::size_t token, std::size_t next) {
        loss -= std::log(probability(token, next));
        right += guess(token) == next ? 1.0 : 0.0;
    });
    const auto tokens = static_cast<double>(std::ssize(set.rows) * sequence);
    if (tokens == 0.0) {
        return {};
    }
    return {{"accuracy", 100.0 * right / tokens}, {"log_loss", loss / tokens}};
}

} // namespace

std::vector<EvaluationResult> text_baselines(const Matrix& matrix,
                                             std::span<const std::int64_t> training,
                                             std::int64_t sequence,
                                             std::int64_t vocabulary,
                                             std::span<const RowSet> sets) {
    const bool with_pairs = vocabulary <= bigram_vocabulary_max;
    Counts counts{static_cast<std::size_t>(vocabulary), with_pairs};
    for_each_pair(matrix, training, sequence, [&](std::size_t token, std::size_t next) { counts.add(token, next); });
    std::vector<EvaluationResult> results;
    const std::size_t likeliest = counts.likeliest();
    for (const RowSet& set : sets) {
        results.push_back({"naive",
                           set.name,
                           scores_on(
                               set,
                               sequence,
                               [&](std::size_t, std::size_t next) { return counts.single(next); },
                               [&](std::size_t) { return likeliest; })});
    }
    if (!with_pairs) {
        return results;
    }
    std::vector<std::size_t> guesses;
    for (std::size_t token = 0; token < static_cast<std::size_t>(vocabulary); ++token) {
        guesses.push_back(counts.likeliest_after(token));
    }
    for (const RowSet& set : sets) {
        results.push_back({"bigram",
                           set.name,
                           scores_on(
                               set,
                               sequence,
                               [&](std::size_t token, std::size_t next) { return counts.pair(token, next); },
                               [&](std::size_t token) { return guesses[token]; })});
    }
    return results;
}

} // namespace muster::worker
