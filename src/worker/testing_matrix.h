/// Small matrices on disk and the recipes that train on them. Tests only.
#pragma once

#include "model/preprocessing.h"
#include "model/recipe.h"
#include "worker/matrix.h"

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

namespace muster::worker {

using Rows = std::vector<std::vector<float>>;

/// A temporary folder with matrix files, removed at the end.
class TestingFolder {
public:
    TestingFolder() {
        std::string name = (std::filesystem::temp_directory_path() / "muster-matrix-XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr) {
            throw std::runtime_error{"mkdtemp"};
        }
        path_ = name;
    }
    ~TestingFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    TestingFolder(const TestingFolder&) = delete;
    TestingFolder& operator=(const TestingFolder&) = delete;

    [[nodiscard]] const std::filesystem::path& path() const { return path_; }

    MatrixInfo write(const Rows& rows,
                     const std::vector<float>& target,
                     const Rows& test_rows = {},
                     const std::vector<float>& test_target = {}) const {
        write_file("train.features", rows);
        write_file("train.target", {target});
        if (!test_rows.empty()) {
            write_file("test.features", test_rows);
            write_file("test.target", {test_target});
        }
        return {.rows = std::ssize(rows),
                .test_rows = std::ssize(test_rows),
                .columns = rows.empty() ? 0 : std::ssize(rows.front())};
    }

private:
    void write_file(const char* name, const Rows& rows) const {
        std::ofstream file{path_ / name, std::ios::binary};
        for (const std::vector<float>& row : rows) {
            file.write(reinterpret_cast<const char*>(row.data()),
                       static_cast<std::streamsize>(row.size() * sizeof(float)));
        }
    }

    std::filesystem::path path_;
};

/// A problem made of random numbers with something to learn in it.
struct TestingProblem {
    Recipe recipe{.name = "test",
                  .data = {.source = "s", .target = "y", .validation = 0.1},
                  .model = {.hidden = {16, 8}},
                  .loss = Loss::l1,
                  .batch = 64,
                  .epochs = 4,
                  .seed = 11};
    Preprocessing preprocessing;
    MatrixSet matrices;

    /// `classes` 0: a regression.
    explicit TestingProblem(std::int64_t rows = 1000, std::int64_t columns = 5, int classes = 0) {
        std::mt19937_64 random{7};
        std::normal_distribution<float> normal;
        const auto make = [&](std::int64_t count, Rows& features, std::vector<float>& target) {
            for (std::int64_t i = 0; i < count; ++i) {
                std::vector<float> row(static_cast<std::size_t>(columns));
                float sum = 0.2F * normal(random);
                for (std::size_t j = 0; j < row.size(); ++j) {
                    row[j] = normal(random);
                    sum += row[j] * (j % 2 == 0 ? 1.0F : -0.5F);
                }
                features.push_back(row);
                if (classes == 0) {
                    target.push_back(100.0F + 20.0F * sum + 5.0F * std::abs(row[0]));
                } else {
                    const float edge = (sum + 2.0F) / 4.0F * static_cast<float>(classes);
                    target.push_back(std::floor(std::min(std::max(edge, 0.0F), static_cast<float>(classes) - 0.5F)));
                }
            }
        };
        Rows features;
        Rows test_features;
        std::vector<float> target;
        std::vector<float> test_target;
        make(rows, features, target);
        make(rows / 4, test_features, test_target);
        const MatrixInfo info = folder_.write(features, target, test_features, test_target);
        for (std::int64_t j = 0; j < columns; ++j) {
            preprocessing.inputs.push_back({.name = "x" + std::to_string(j)});
        }
        preprocessing.target = {.name = "y", .mean = 100.0, .scale = 30.0, .median = 100.0};
        if (classes > 0) {
            preprocessing.target = {.name = "y", .kind = ColumnKind::category};
            for (int i = 0; i < classes; ++i) {
                preprocessing.target.categories.push_back("class " + std::to_string(i));
            }
            recipe.loss = Loss::cross_entropy;
        }
        auto opened = open_matrices(folder_.path(), info);
        matrices = std::move(opened).value();
    }

private:
    TestingFolder folder_;
};

} // namespace muster::worker
