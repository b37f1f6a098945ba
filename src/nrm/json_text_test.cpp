#include "nrm/json_text.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <tuple>
#include <vector>

namespace muster::nrm {
namespace {

using Json = nlohmann::json;

TEST(JsonText, reads_every_kind_of_value) {
    for (const char* text : {"null",
                             "true",
                             "-1",
                             "18446744073709551615",
                             "1.5e3",
                             "\"\\u00e9\\n\"",
                             "[]",
                             "{}",
                             R"({"a": [1, {"b": [[], {}]}], "c": "d"})",
                             " [1 , 2 ] \n"}) {
        const auto parsed = parse_json(text);
        ASSERT_TRUE(parsed) << text << parsed.error().text();
        EXPECT_EQ(*parsed, Json::parse(text)) << text;
    }
}

TEST(JsonText, names_line_and_column_of_what_is_wrong) {
    const std::vector<std::tuple<std::string, std::string, std::string>> bad{
        {"", "line 1, column 1", "end of input"},
        {"{\n  \"a\": 1,\n  b: 2\n}", "line 3, column 3", "literal"},
        {"[1, 2", "line 1, column 5", "end of input"},
        {"[1] x", "line 1, column 5", "literal"},
        {"{\"a\": 1, \"a\": 2}", "line 1, column 12", "there twice"},
        {"[1e999]", "line 1, column 6", "overflow"},
        {"{'a': 1}", "line 1, column 2", "literal"},
        {"[1,]", "line 1, column 4", "unexpected ']'"},
        {"\"\xff\"", "line 1, column 2", "UTF-8"},
        {"// no\n1", "line 1, column 1", "literal"},
        {"NaN", "line 1, column 1", "literal"},
    };
    for (const auto& [text, where, message] : bad) {
        const auto parsed = parse_json(text);
        ASSERT_FALSE(parsed) << text;
        EXPECT_EQ(parsed.error().code, ErrorCode::invalid_argument);
        EXPECT_EQ(parsed.error().where, where) << text << ": " << parsed.error().text();
        EXPECT_NE(parsed.error().message.find(message), std::string::npos) << parsed.error().text();
    }
}

TEST(JsonText, stops_at_the_depth_limit) {
    const auto nested = [](std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
    EXPECT_TRUE(parse_json(nested(5), 5));
    const auto refused = parse_json("{\"a\":\n" + nested(5) + "}", 5);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::resource_exhausted);
    EXPECT_EQ(refused.error().where, "line 2, column 5");
    EXPECT_FALSE(parse_json(nested(1'000'000)));
    EXPECT_FALSE(parse_json(std::string(1'000'000, '[')));
    std::string objects;
    for (int i = 0; i < 100'000; ++i) {
        objects += "{\"a\":";
    }
    EXPECT_FALSE(parse_json(objects));
}

Json random_value(std::mt19937& random, int depth) {
    switch (random() % (depth > 0 ? 7 : 5)) {
    case 0:
        return nullptr;
    case 1:
        return random() % 2 == 0;
    case 2:
        return static_cast<std::int64_t>(random()) - 2'000'000'000;
    case 3:
        return static_cast<double>(random()) / 3.0;
    case 4:
        return std::string{"té\"xt\n\\"} + std::to_string(random() % 100);
    case 5: {
        Json list = Json::array();
        for (auto i = random() % 4; i > 0; --i) {
            list.push_back(random_value(random, depth - 1));
        }
        return list;
    }
    default: {
        Json object = Json::object();
        for (auto i = random() % 4; i > 0; --i) {
            object["name" + std::to_string(i)] = random_value(random, depth - 1);
        }
        return object;
    }
    }
}

TEST(JsonText, gives_back_what_was_written) {
    std::mt19937 random{3};
    for (int i = 0; i < 500; ++i) {
        const Json value = random_value(random, 5);
        const auto parsed = parse_json(value.dump(static_cast<int>(random() % 3) - 1));
        ASSERT_TRUE(parsed) << parsed.error().text();
        ASSERT_EQ(*parsed, value);
    }
}

TEST(JsonText, survives_any_damage) {
    std::mt19937 random{5};
    const std::string good = R"({"id": "r1", "attributes": {"a": [1, 2.5, true, null], "b": "té\u00e9"}})";
    for (int i = 0; i < 3000; ++i) {
        std::string damaged = good;
        for (auto edits = 1 + random() % 4; edits > 0; --edits) {
            const auto at = random() % damaged.size();
            switch (random() % 3) {
            case 0:
                damaged[at] = static_cast<char>(random() % 256);
                break;
            case 1:
                damaged.erase(at, 1);
                break;
            default:
                damaged.insert(at, 1, "{}[]\",:0\\"[random() % 9]);
                break;
            }
            if (damaged.empty()) {
                break;
            }
        }
        const auto parsed = parse_json(damaged);
        // Either both accept, or both refuse; only a name given twice is refused by us alone.
        if (Json::accept(damaged)) {
            EXPECT_TRUE(parsed || parsed.error().message.find("twice") != std::string::npos) << damaged;
        } else {
            ASSERT_FALSE(parsed) << damaged;
            EXPECT_TRUE(parsed.error().where.starts_with("line "));
            EXPECT_NO_THROW(static_cast<void>(Json(parsed.error().text()).dump()));
        }
    }
}

} // namespace
} // namespace muster::nrm
