/// A temporary folder with small sources, for the tests of this folder.
#pragma once

#include "base/id.h"
#include "data/prepare.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace muster::data {

/// Makes an empty folder for each test and removes it at the end.
class FolderTest : public ::testing::Test {
public:
    FolderTest() : folder_{std::filesystem::temp_directory_path() / ("muster-data-test-" + random_hex(8))} {
        std::filesystem::create_directories(folder_);
    }
    ~FolderTest() override {
        std::error_code ignored; // the folder is temporary anyway
        std::filesystem::remove_all(folder_, ignored);
    }

protected:
    std::filesystem::path write(const std::string& name, const std::string& content) const {
        std::ofstream{folder_ / name, std::ios::binary} << content;
        return folder_ / name;
    }
    /// A recipe for target "y" that trains numbers.
    static Recipe recipe() {
        Recipe made;
        made.name = "test";
        made.data = {.source = "s", .target = "y"};
        return made;
    }
    /// Encodes `train`, and `test` when it is not empty.
    Result<Published> encode(const std::string& train, const Recipe& how, const std::string& test = {}) const {
        DataRequest request{.train = write("train.csv", train), .test = {}, .recipe = how};
        if (!test.empty()) {
            request.test = write("test.csv", test);
        }
        return prepare(request, folder_ / "cache", settings_);
    }
    static std::vector<float> floats(const std::filesystem::path& path) {
        std::ifstream file{path, std::ios::binary | std::ios::ate};
        std::vector<float> values(static_cast<std::size_t>(file.tellg()) / sizeof(float));
        file.seekg(0);
        file.read(reinterpret_cast<char*>(values.data()), static_cast<std::streamsize>(values.size() * sizeof(float)));
        return values;
    }

    std::filesystem::path folder_;
    Settings settings_;
};

} // namespace muster::data
