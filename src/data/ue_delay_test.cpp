/// The example's real measurements against figures from tests/bench/encoded_golden.py, which shares no code with us.
#include "data/folder_fixture.h"

#include <gtest/gtest.h>

#include <array>
#include <fstream>

namespace muster::data {
namespace {

class UeDelay : public FolderTest {
protected:
    static constexpr std::size_t columns = 18;

    DataRequest request() const {
        const std::filesystem::path example{MUSTER_EXAMPLES "/ue-delay"};
        auto how = recipe();
        how.data = {.source = "ue-delay/train",
                    .test = "ue-delay/test",
                    .target = "delay_ms",
                    .exclude = {"run_id", "pub_time_ms", "sub_time_ms"},
                    .categorical = {"cell_id"}};
        return {.train = example / "train.csv.gz", .test = example / "test.csv.gz", .recipe = how};
    }
    static std::array<double, columns> means(const std::vector<float>& features) {
        std::array<double, columns> sums{};
        for (std::size_t i = 0; i < features.size(); ++i) {
            sums[i % columns] += static_cast<double>(features[i]);
        }
        const std::size_t rows = features.size() / columns;
        for (double& sum : sums) {
            sum /= static_cast<double>(rows);
        }
        return sums;
    }
};

TEST_F(UeDelay, is_encoded_as_the_reference_does) {
    const auto made = prepare(request(), folder_ / "cache", settings_);
    ASSERT_TRUE(made) << made.error().text();
    EXPECT_EQ(made->info.rows, 156'422);
    EXPECT_EQ(made->info.test_rows, 71'035);
    ASSERT_EQ(made->info.columns, columns);
    constexpr std::array<double, columns> expected{0.10452593791792779,
                                                   0.8954740620820723,
                                                   0.4886042091926515,
                                                   0.5113957908073485,
                                                   -0.10137922525082835,
                                                   -0.10910374676979023,
                                                   -0.14018542696287686,
                                                   -0.0751522312292008,
                                                   -0.029147195779641095,
                                                   -0.08843250018641514,
                                                   0.004575209403815021,
                                                   0.45297388611247974,
                                                   0.5113957908073485,
                                                   0.016146969803617933,
                                                   0.0033504610403322305,
                                                   0.008404307735623284,
                                                   0.04287061099936627,
                                                   -0.11421982836209806};
    const auto test = floats(made->folder / "test.features");
    const auto found = means(test);
    for (std::size_t column = 0; column < columns; ++column) {
        EXPECT_NEAR(found[column], expected[column], 1e-6) << column;
    }
    constexpr std::array<float, columns> last_row{0.0F,
                                                  1.0F,
                                                  0.0F,
                                                  1.0F,
                                                  -0.23511694371700287F,
                                                  -0.5296800136566162F,
                                                  -0.2742362916469574F,
                                                  1.3367066383361816F,
                                                  0.08713071048259735F,
                                                  -0.23657289147377014F,
                                                  0.0F,
                                                  0.0F,
                                                  1.0F,
                                                  0.0F,
                                                  0.0F,
                                                  0.0F,
                                                  -0.9530933499336243F,
                                                  0.5670760869979858F};
    for (std::size_t column = 0; column < columns; ++column) {
        EXPECT_NEAR(test[test.size() - columns + column], last_row[column], 1e-6) << column;
    }
    double sum = 0;
    for (const float delay : floats(made->folder / "train.target")) {
        sum += static_cast<double>(delay);
    }
    EXPECT_NEAR(sum / 156'422, 19.722539029036835, 1e-9);
}

TEST_F(UeDelay, truncated_or_damaged_gzip_is_refused_by_name) {
    std::ifstream file{request().train, std::ios::binary};
    std::string bytes{std::istreambuf_iterator<char>{file}, {}};
    auto broken = request();
    broken.test.reset();
    broken.train = write("half.csv.gz", bytes.substr(0, bytes.size() / 2));
    const auto half = prepare(broken, folder_ / "cache", settings_);
    ASSERT_FALSE(half);
    EXPECT_NE(half.error().message.find("truncated"), std::string::npos) << half.error().text();
    bytes.replace(bytes.size() / 2, 64, std::string(64, '\0'));
    broken.train = write("damaged.csv.gz", bytes);
    const auto damaged = prepare(broken, folder_ / "cache", settings_);
    ASSERT_FALSE(damaged);
    EXPECT_NE(damaged.error().where.find("damaged.csv.gz"), std::string::npos) << damaged.error().text();
}

} // namespace
} // namespace muster::data
