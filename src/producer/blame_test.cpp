#include "producer/blame.h"

#include <gtest/gtest.h>

namespace muster::producer {
namespace {

const std::string a = "SubNetwork=1,ManagedElement=gnb-1,MLTrainingFunction=1";
const std::string b = "SubNetwork=1,ManagedElement=gnb-2,MLTrainingFunction=1";
const std::string c = "SubNetwork=1,ManagedElement=gnb-3,MLTrainingFunction=1";
const std::vector<std::string> group{a, b, c};

std::string lost(const std::string& dn) {
    return "calibration: rank 1 (" + dn + "): connection closed, in all-reduce 4";
}

std::vector<std::string> blamed(const std::vector<FailureReport>& reports,
                                const std::vector<std::string>& members = group) {
    std::vector<std::string> dns;
    for (const auto& [dn, why] : blame(members, reports)) {
        EXPECT_EQ(why.code, "failed");
        EXPECT_FALSE(why.words.empty());
        dns.push_back(dn);
    }
    return dns;
}

TEST(Blame, goes_to_the_worker_that_has_ended_whoever_spoke_first) {
    EXPECT_EQ(blamed({{a, lost(b)}, {c, lost(b)}, {b, "worker ended: signal 9 (Killed)"}}), std::vector{b});
    EXPECT_EQ(blamed({{a, lost(c)}, {b, "worker ended: exit status 1: last words about " + a}}), std::vector{b});
    EXPECT_EQ(blamed({{a, lost(b)}, {b, "model: the program failed: it was " + c}}), std::vector{b});
}

TEST(Blame, goes_to_those_who_speak_of_themselves_only) {
    EXPECT_EQ(blamed({{a, "calibration: out of memory"}, {b, "rank 0 (" + a + ") aborted the group: out of memory"}}),
              std::vector{a});
    EXPECT_EQ(blamed({{a, "out of memory"}, {b, lost(a)}, {c, "no space on the disk"}}), (std::vector{a, c}));
}

TEST(Blame, goes_to_the_one_that_several_name) {
    EXPECT_EQ(blamed({{b, lost(c)}, {a, lost(b)}, {c, lost(b)}}), std::vector{b});
}

TEST(Blame, goes_to_the_silent_one_among_equals_and_then_to_the_one_named_first) {
    EXPECT_EQ(blamed({{a, lost(b)}, {b, lost(c)}}), std::vector{c});
    EXPECT_EQ(blamed({{a, lost(b)}, {b, lost(a)}}, {a, b}), std::vector{b});
}

TEST(Blame, takes_the_last_name_of_a_chain_for_the_cause) {
    EXPECT_EQ(blamed({{a, "rank 2 (" + c + ") aborted the group: " + lost(b)}, {c, lost(b)}}), std::vector{b});
}

TEST(Blame, reads_names_as_a_whole) {
    const std::string longer = a + "2";
    EXPECT_EQ(blamed({{b, lost(longer)}}, {a, b, longer}), std::vector{longer});
    EXPECT_EQ(blamed({{b, "nobody but " + longer}}, {a, b}), std::vector{b});
}

} // namespace
} // namespace muster::producer
