/// What every Store promises, run on the one in memory and on the one in SQLite.
#include "port/fake/memory_store.h"
#include "store/sqlite/sqlite_store.h"
#include "store/temporary_folder.h"

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace muster::store {
namespace {

struct Kind {
    const char* name;
    std::function<std::unique_ptr<Store>(const std::filesystem::path&)> open;
};

class StoreContract : public testing::TestWithParam<Kind> {
protected:
    Result<void> commit(const std::vector<Write>& writes) { return store_->commit(writes); }

    TemporaryFolder folder_;
    std::unique_ptr<Store> store_{GetParam().open(folder_.path())};
};

TEST_P(StoreContract, begins_empty) {
    EXPECT_FALSE(store_->read("object", "a"));
    EXPECT_TRUE(store_->list("object").empty());
    EXPECT_TRUE(commit({}));
}

TEST_P(StoreContract, counts_versions_from_one) {
    ASSERT_TRUE(commit({{"object", "a", "{}"}}));
    EXPECT_EQ(store_->read("object", "a"), (Record{"object", "a", "{}", 1}));
    ASSERT_TRUE(commit({{"object", "a", "{\"x\":1}", 1}}));
    EXPECT_EQ(store_->read("object", "a"), (Record{"object", "a", "{\"x\":1}", 2}));
    ASSERT_TRUE(commit({{"object", "a", "{}"}}));
    EXPECT_EQ(store_->read("object", "a")->version, 3);
    ASSERT_TRUE(commit({{"object", "a", std::nullopt, 3}}));
    EXPECT_FALSE(store_->read("object", "a"));
    ASSERT_TRUE(commit({{"object", "a", "{}", 0}}));
    EXPECT_EQ(store_->read("object", "a")->version, 1);
}

TEST_P(StoreContract, refuses_another_version_and_keeps_nothing) {
    ASSERT_TRUE(commit({{"object", "a", "1"}}));
    for (const std::int64_t wrong : {0, 2, -1}) {
        const auto refused = commit({{"object", "b", "new"}, {"object", "a", "2", wrong}, {"object", "c", "new"}});
        ASSERT_FALSE(refused);
        EXPECT_EQ(refused.error().code, ErrorCode::conflict);
    }
    const auto absent = commit({{"object", "nothing", std::nullopt, 1}});
    ASSERT_FALSE(absent);
    EXPECT_EQ(absent.error().code, ErrorCode::conflict);
    EXPECT_EQ(store_->list("object"), (std::vector<Record>{{"object", "a", "1", 1}}));
}

TEST_P(StoreContract, deletes_what_is_absent_without_complaint) {
    EXPECT_TRUE(commit({{"object", "a", std::nullopt}}));
    EXPECT_TRUE(commit({{"object", "a", std::nullopt, 0}}));
}

TEST_P(StoreContract, lets_each_write_see_those_before_it) {
    ASSERT_TRUE(commit(
        {{"object", "a", "1", 0}, {"object", "a", "2", 1}, {"object", "b", "1", 0}, {"object", "b", std::nullopt, 1}}));
    EXPECT_EQ(store_->list("object"), (std::vector<Record>{{"object", "a", "2", 2}}));
}

TEST_P(StoreContract, keeps_kinds_apart_and_lists_by_prefix_in_order) {
    for (const char* key : {"b", "a/2", "a/10", "a", "a!", "ab", "\xC3\xA9", ""}) {
        ASSERT_TRUE(commit({{"object", key, "x"}, {"job", key, "y"}}));
    }
    std::vector<std::string> keys;
    for (const Record& record : store_->list("object")) {
        keys.push_back(record.key);
        EXPECT_EQ(record.body, "x");
    }
    EXPECT_EQ(keys, (std::vector<std::string>{"", "a", "a!", "a/10", "a/2", "ab", "b", "\xC3\xA9"}));
    EXPECT_EQ(store_->list("object", "a/").size(), 2U);
    EXPECT_EQ(store_->list("object", "a").size(), 5U);
    EXPECT_TRUE(store_->list("object", "c").empty());
    EXPECT_TRUE(store_->list("objec").empty());
}

TEST_P(StoreContract, keeps_any_text) {
    std::string body(1 << 20, 'x');
    body[10] = '\'';
    ASSERT_TRUE(commit({{"object", "it's; DROP TABLE record --", body}, {"object", "empty", ""}}));
    EXPECT_EQ(store_->read("object", "it's; DROP TABLE record --")->body, body);
    EXPECT_EQ(store_->read("object", "empty")->body, "");
}

TEST_P(StoreContract, agrees_with_a_map_over_random_writes) {
    std::mt19937 random{1};
    std::map<std::string, Record> model;
    for (int round = 0; round < 300; ++round) {
        auto next = model;
        bool good = true;
        std::vector<Write> writes;
        for (auto count = 1 + random() % 3; count > 0; --count) {
            Write write{"object", std::to_string(random() % 6), std::nullopt, std::nullopt};
            if (random() % 4 != 0) {
                write.body = std::to_string(random());
            }
            if (random() % 2 == 0) {
                write.expected = static_cast<std::int64_t>(random() % 3);
            }
            const std::int64_t version = next.contains(write.key) ? next.at(write.key).version : 0;
            good = good && (!write.expected || *write.expected == version);
            if (good && write.body) {
                next[write.key] = {"object", write.key, *write.body, version + 1};
            } else if (good) {
                next.erase(write.key);
            }
            writes.push_back(write);
        }
        ASSERT_EQ(commit(writes).ok(), good);
        if (good) {
            model = next;
        }
    }
    std::vector<Record> expected;
    for (const auto& [key, record] : model) {
        expected.push_back(record);
    }
    EXPECT_EQ(store_->list("object"), expected);
}

TEST_P(StoreContract, loses_no_increment_of_many_threads) {
    constexpr int increments = 25;
    ASSERT_TRUE(commit({{"meta", "count", "0"}}));
    {
        std::vector<std::jthread> threads;
        for (int i = 0; i < 4; ++i) {
            threads.emplace_back([this] {
                for (int done = 0; done < increments;) {
                    const Record now = store_->read("meta", "count").value();
                    done += commit({{"meta", "count", std::to_string(std::stoi(now.body) + 1), now.version}}) ? 1 : 0;
                }
            });
        }
    }
    EXPECT_EQ(store_->read("meta", "count")->body, std::to_string(4 * increments));
}

INSTANTIATE_TEST_SUITE_P(Stores,
                         StoreContract,
                         testing::Values(Kind{"memory", [](const auto&) { return std::make_unique<MemoryStore>(); }},
                                         Kind{"sqlite",
                                              [](const std::filesystem::path& folder) -> std::unique_ptr<Store> {
                                                  return SqliteStore::open({.path = folder / "store.db"}).value();
                                              }}),
                         [](const auto& kind) { return kind.param.name; });

} // namespace
} // namespace muster::store
