/// A small text and a language model that learns it. Tests only.
#pragma once

#include "worker/program.h"
#include "worker/testing_matrix.h"

#include <random>
#include <string>
#include <vector>

namespace muster::worker {

/// A text in which two tokens decide the next one, most of the time.
struct TextProblem {
    static constexpr int vocabulary = 6;
    Recipe recipe{.name = "text",
                  .data = {.source = "s",
                           .target = text_target(TextUnit::character),
                           .text = RecipeText{TextUnit::character, 8},
                           .validation = 0.2},
                  .model = {.family = "transformer", .layers = 2, .width = 16, .heads = 2},
                  .loss = Loss::cross_entropy,
                  .optimizer = {.learning_rate = 1e-2},
                  .batch = 16,
                  .epochs = 3,
                  .seed = 5};
    Preprocessing preprocessing;
    MatrixSet matrices;

    explicit TextProblem(std::size_t tokens = 1000) {
        std::mt19937 random{3};
        std::vector<int> text{0, 1};
        while (text.size() < tokens + 1) {
            const int next = (2 * text.back() + 3 * text[text.size() - 2] + 1) % vocabulary;
            text.push_back(random() % 10 == 0 ? static_cast<int>(random() % vocabulary) : next);
        }
        Rows rows;
        std::vector<float> target;
        for (std::size_t i = 0; i < tokens; ++i) {
            rows.push_back({static_cast<float>(text[i])});
            target.push_back(static_cast<float>(text[i + 1]));
        }
        const auto tested = static_cast<std::ptrdiff_t>(std::min<std::size_t>(100, tokens));
        const Rows test_rows{rows.end() - tested, rows.end()};
        const MatrixInfo info = folder_.write(rows, target, test_rows, {target.end() - tested, target.end()});
        std::vector<std::string> names;
        for (int i = 0; i < vocabulary; ++i) {
            names.push_back(std::string(1, static_cast<char>('a' + i)));
        }
        preprocessing.inputs = {{.name = "text", .kind = ColumnKind::token, .categories = names}};
        preprocessing.target = {
            .name = text_target(TextUnit::character), .kind = ColumnKind::category, .categories = names};
        matrices = open_matrices(folder_.path(), info).value();
    }

    [[nodiscard]] ModelProgram program() const { return ModelProgram::build(recipe, preprocessing).value(); }

private:
    TestingFolder folder_;
};

} // namespace muster::worker
