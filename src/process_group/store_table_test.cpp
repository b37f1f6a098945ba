#include "process_group/store_table.h"

#include <gtest/gtest.h>

namespace muster::process_group {
namespace {

using Kind = StoreRequestKind;
using Parts = std::vector<std::string>;

class Table {
public:
    explicit Table(std::size_t bytes_max = 1000) : table_{bytes_max} {}
    /// The parts of the answer; {"waits"}, {"refused"} or {"empty"} when there is none.
    Parts ask(Kind kind, Parts parts, int patience_ms = 1000) {
        const auto reply = table_.answer({kind, std::chrono::milliseconds{patience_ms}, std::move(parts)});
        if (!reply) {
            return {"waits"};
        }
        return reply->kind == StoreReplyKind::done      ? reply->parts
               : reply->kind == StoreReplyKind::refused ? Parts{"refused"}
                                                        : Parts{"empty"};
    }
    StoreTable table_;
};

TEST(StoreTable, keeps_and_removes_values) {
    Table table;
    EXPECT_EQ(table.ask(Kind::get, {"a"}), Parts{"waits"});
    EXPECT_EQ(table.ask(Kind::set, {"a", "1", "b", "2"}), Parts{});
    EXPECT_EQ(table.ask(Kind::get, {"b", "a"}), (Parts{"2", "1"}));
    EXPECT_EQ(table.ask(Kind::wait, {"a", "b"}), Parts{});
    EXPECT_EQ(table.ask(Kind::wait, {"a", "c"}), Parts{"waits"});
    EXPECT_EQ(table.ask(Kind::check, {"a", "c"}), Parts{"0"});
    EXPECT_EQ(table.ask(Kind::check, {"a"}), Parts{"1"});
    EXPECT_EQ(table.ask(Kind::count, {}), Parts{"2"});
    EXPECT_EQ(table.ask(Kind::remove, {"a"}), Parts{"1"});
    EXPECT_EQ(table.ask(Kind::remove, {"a"}), Parts{"0"});
    EXPECT_EQ(table.ask(Kind::list, {}), Parts{"b"});
    EXPECT_EQ(table.ask(Kind::append, {"b", "3"}), Parts{});
    EXPECT_EQ(table.ask(Kind::get, {"b"}), Parts{"23"});
    const auto late = table.table_.give_up({Kind::wait, std::chrono::milliseconds{5}, {"b", "c"}});
    EXPECT_EQ(late.kind, StoreReplyKind::timed_out);
    EXPECT_EQ(late.parts, Parts{"c"});
}

TEST(StoreTable, adds_numbers) {
    Table table;
    EXPECT_EQ(table.ask(Kind::add, {"n", "5"}), Parts{"5"});
    EXPECT_EQ(table.ask(Kind::add, {"n", "-7"}), Parts{"-2"});
    EXPECT_EQ(table.ask(Kind::get, {"n"}), Parts{"-2"});
    EXPECT_EQ(table.ask(Kind::set, {"t", "text"}), Parts{});
    EXPECT_EQ(table.ask(Kind::add, {"t", "1"}), Parts{"refused"});
    EXPECT_EQ(table.ask(Kind::set, {"m", "9223372036854775807"}), Parts{});
    EXPECT_EQ(table.ask(Kind::add, {"m", "1"}), Parts{"refused"});
}

TEST(StoreTable, compares_before_it_sets) {
    Table table;
    EXPECT_EQ(table.ask(Kind::compare_set, {"k", "old", "new"}), Parts{"old"}); // nothing there, nothing set
    EXPECT_EQ(table.ask(Kind::check, {"k"}), Parts{"0"});
    EXPECT_EQ(table.ask(Kind::compare_set, {"k", "", "first"}), Parts{"first"});
    EXPECT_EQ(table.ask(Kind::compare_set, {"k", "other", "second"}), Parts{"first"});
    EXPECT_EQ(table.ask(Kind::compare_set, {"k", "first", "second"}), Parts{"second"});
}

TEST(StoreTable, queues_are_first_in_first_out_and_keys_while_they_hold_something) {
    Table table;
    EXPECT_EQ(table.ask(Kind::pop, {"q"}), Parts{"waits"});
    EXPECT_EQ(table.ask(Kind::pop, {"q"}, 0), Parts{"empty"});
    EXPECT_EQ(table.ask(Kind::push, {"q", "1"}), Parts{});
    EXPECT_EQ(table.ask(Kind::push, {"q", "2"}), Parts{});
    EXPECT_EQ(table.ask(Kind::length, {"q"}), Parts{"2"});
    EXPECT_EQ(table.ask(Kind::check, {"q"}), Parts{"1"});
    EXPECT_EQ(table.ask(Kind::pop, {"q"}), Parts{"1"});
    EXPECT_EQ(table.ask(Kind::pop, {"q"}), Parts{"2"});
    EXPECT_EQ(table.ask(Kind::check, {"q"}), Parts{"0"});
}

TEST(StoreTable, is_bounded_and_gives_room_back) {
    Table table{20};
    EXPECT_EQ(table.ask(Kind::set, {"a", std::string(15, 'x')}), Parts{});
    EXPECT_EQ(table.ask(Kind::set, {"b", std::string(15, 'x')}), Parts{"refused"});
    EXPECT_EQ(table.ask(Kind::push, {"q", std::string(15, 'x')}), Parts{"refused"});
    EXPECT_EQ(table.ask(Kind::append, {"a", "12345"}), Parts{"refused"});
    EXPECT_EQ(table.ask(Kind::set, {"a", std::string(19, 'y')}), Parts{}); // takes the old one's place
    EXPECT_EQ(table.ask(Kind::remove, {"a"}), Parts{"1"});
    EXPECT_EQ(table.ask(Kind::push, {"q", std::string(15, 'x')}), Parts{});
    EXPECT_EQ(table.ask(Kind::remove, {"q"}), Parts{"1"});
    EXPECT_EQ(table.ask(Kind::set, {"b", std::string(19, 'x')}), Parts{});
}

TEST(StoreTable, refuses_requests_of_a_wrong_shape) {
    Table table;
    for (const auto& [kind, parts] : std::vector<std::pair<Kind, Parts>>{{Kind::set, {"a"}},
                                                                         {Kind::add, {"a"}},
                                                                         {Kind::compare_set, {"a", "b"}},
                                                                         {Kind::remove, {}},
                                                                         {Kind::push, {"a"}},
                                                                         {Kind::pop, {"a", "b"}},
                                                                         {Kind::count, {"a"}},
                                                                         {Kind::hello, {}}}) {
        EXPECT_EQ(table.ask(kind, parts), Parts{"refused"}) << static_cast<int>(kind);
    }
}

} // namespace
} // namespace muster::process_group
