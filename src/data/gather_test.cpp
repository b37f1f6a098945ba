#include "base/file.h"
#include "data/folder_fixture.h"
#include "data/gather.h"
#include "data/learn.h"
#include "wire/preprocessing.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cmath>

namespace muster::data {
namespace {

/// Rows of a table: a number with a gap now and then, a cell, a date, the target.
std::string rows_of(int begin, int end) {
    std::string text;
    for (int i = begin; i < end; ++i) {
        text += fmt::format("{},cell {},2026-01-{:02}T10:00,{}\n",
                            i % 7 == 0 ? std::string{} : fmt::format("{:.3f}", std::sin(i) * 50 + i),
                            i % 40 == 0 ? 99 : i % 3,
                            1 + i % 28,
                            i * i % 101);
    }
    return text;
}
constexpr const char* header = "x,cell,time,y\n";

class Gather : public FolderTest {
protected:
    [[nodiscard]] TableStatistics
    of(const std::string& name, const std::string& content, std::int64_t rows_min = 1) const {
        auto gathered = gather(write(name, content), recipe(), rows_min, settings_);
        EXPECT_TRUE(gathered.ok()) << (gathered ? "" : gathered.error().text());
        return gathered ? *gathered : TableStatistics{};
    }
    [[nodiscard]] Preprocessing learned(const Published& published) const {
        const auto text = read_file(published.folder / "matrix.json");
        return *wire::preprocessing_from_json(nlohmann::json::parse(*text).at("preprocessing"));
    }
};

TEST_F(Gather, at_three_sites_gives_what_is_learned_of_all_rows_at_one) {
    const auto whole = encode(header + rows_of(0, 900), recipe());
    ASSERT_TRUE(whole.ok());
    const Preprocessing expected = learned(*whole);
    const std::vector<SiteStatistics> sites{{"s1", of("1.csv", header + rows_of(0, 100))},
                                            {"s2", of("2.csv", header + rows_of(100, 400))},
                                            {"s3", of("3.csv", header + rows_of(400, 900))}};
    const auto all = merged(sites);
    ASSERT_TRUE(all.ok());
    const auto made = preprocessing_of(*all, recipe());
    ASSERT_TRUE(made.ok());
    ASSERT_EQ(made->inputs.size(), expected.inputs.size());
    for (std::size_t i = 0; i < expected.inputs.size(); ++i) {
        EXPECT_EQ(made->inputs[i].name, expected.inputs[i].name);
        EXPECT_EQ(made->inputs[i].kind, expected.inputs[i].kind);
        EXPECT_EQ(made->inputs[i].categories, expected.inputs[i].categories);
        EXPECT_EQ(made->inputs[i].missing_flag, expected.inputs[i].missing_flag);
        EXPECT_NEAR(made->inputs[i].mean, expected.inputs[i].mean, 1e-9);
        EXPECT_NEAR(made->inputs[i].scale, expected.inputs[i].scale, 1e-9);
    }
    EXPECT_NEAR(made->target.mean, expected.target.mean, 1e-9);
    EXPECT_NEAR(made->target.scale, expected.target.scale, 1e-9);
    EXPECT_NEAR(made->target.median, expected.target.median, 1.0); // groups of 4 of 900 rows
}

TEST_F(Gather, of_one_site_is_what_is_learned_there) {
    const auto whole = encode(header + rows_of(0, 300), recipe());
    ASSERT_TRUE(whole.ok());
    auto made = preprocessing_of(of("1.csv", header + rows_of(0, 300)), recipe());
    ASSERT_TRUE(made.ok());
    made->target.median = learned(*whole).target.median; // of groups, else
    EXPECT_EQ(*made, learned(*whole));
}

TEST_F(Gather, says_nothing_of_categories_with_few_rows) {
    const auto statistics = of("1.csv", header + rows_of(0, 300), 10);
    const std::string sent = wire::to_json(statistics).dump();
    EXPECT_NE(sent.find("cell 1"), std::string::npos);
    EXPECT_EQ(sent.find("cell 99"), std::string::npos); // 8 rows have it
    const auto back = wire::statistics_from_json(nlohmann::json::parse(sent));
    ASSERT_TRUE(back.ok());
    EXPECT_EQ(*back, statistics);
    EXPECT_FALSE(gather(write("few.csv", header + rows_of(1, 9)), recipe(), 10, settings_).ok());
}

TEST_F(Gather, and_encoding_take_the_columns_in_any_order) {
    const auto first = of("1.csv", header + rows_of(0, 300));
    const auto preprocessing = preprocessing_of(first, recipe());
    ASSERT_TRUE(preprocessing.ok());
    const DataRequest here{.train = write("here.csv", "x,cell,time,y\n1.5,cell 2,2026-01-01T10:00,7\n"),
                           .recipe = recipe(),
                           .preprocessing = *preprocessing};
    const DataRequest there{.train = write("there.csv", "time,y,cell,x\n2026-01-01T10:00,7,cell 2,1.5\n"),
                            .recipe = recipe(),
                            .preprocessing = *preprocessing};
    const auto one = prepare(here, folder_ / "cache", settings_);
    const auto other = prepare(there, folder_ / "cache", settings_);
    ASSERT_TRUE(one.ok() && other.ok());
    EXPECT_EQ(one->info.digest, other->info.digest);
    EXPECT_EQ(learned(*other), *preprocessing);
    const DataRequest lacking{.train = write("lacking.csv", "time,y,x\n2026-01-01T10:00,7,1.5\n"),
                              .recipe = recipe(),
                              .preprocessing = *preprocessing};
    const auto refused = prepare(lacking, folder_ / "cache", settings_);
    ASSERT_FALSE(refused.ok());
    EXPECT_NE(refused.error().message.find("agreed"), std::string::npos);
}

} // namespace
} // namespace muster::data
