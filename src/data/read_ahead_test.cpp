#include "data/read_ahead.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <string>

namespace muster::data {
namespace {

using Texts = ReadAhead<std::string>;

TEST(ReadAhead, gives_the_pieces_in_order_until_the_end) {
    int made = 0;
    Texts texts{[&]() -> Texts::Made {
        return made < 1000 ? std::optional{std::to_string(made++)} : std::optional<std::string>{};
    }};
    for (int i = 0; i < 1000; ++i) {
        const auto next = texts.next();
        ASSERT_TRUE(next.ok() && *next);
        EXPECT_EQ(**next, std::to_string(i));
    }
    EXPECT_FALSE(*texts.next());
}

TEST(ReadAhead, makes_no_more_than_it_may_keep) {
    std::atomic<int> made = 0;
    {
        Texts texts{[&]() -> Texts::Made { return std::optional{std::to_string(++made)}; }, 3};
        EXPECT_EQ(**texts.next(), "1");
        EXPECT_LE(made, 1 + 3 + 1) << "taken, kept, and one that waits";
    } // ends although there would be more
    EXPECT_LE(made, 6);
}

TEST(ReadAhead, passes_errors_and_exceptions_on_after_what_came_before) {
    int made = 0;
    Texts failing{[&]() -> Texts::Made {
        return ++made < 3 ? Texts::Made{std::optional<std::string>{"x"}} : Error{ErrorCode::invalid_argument, "row 3"};
    }};
    EXPECT_TRUE(failing.next().ok());
    EXPECT_TRUE(failing.next().ok());
    EXPECT_EQ(failing.next().error().message, "row 3");

    Texts throwing{[]() -> Texts::Made { throw std::runtime_error{"no memory"}; }};
    EXPECT_THROW((void)throwing.next(), std::runtime_error);
}

} // namespace
} // namespace muster::data
