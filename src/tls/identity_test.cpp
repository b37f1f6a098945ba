#include "tls/identity.h"

#include <gtest/gtest.h>

namespace muster::tls {
namespace {

TEST(Identity, survives_the_round_trip_whatever_the_name_holds) {
    for (const std::string name : {"SubNetwork=1,MLTrainingFunction=mlt",
                                   "a/b",
                                   "100% \"odd\" name?#[]",
                                   "muster://job/x/y",
                                   "K\xC3\xB6ln=1,x=*",
                                   "%2F",
                                   " "}) {
        EXPECT_EQ(parse_identity(producer_uri(name)), (Identity{Role::producer, name, "", producer_uri(name)}));
        EXPECT_EQ(parse_identity(function_uri(name)), (Identity{Role::function, name, "", function_uri(name)}));
        EXPECT_EQ(parse_identity(consumer_uri(name)), (Identity{Role::consumer, name, "", consumer_uri(name)}));
        EXPECT_EQ(parse_identity(job_uri(name, "x")), (Identity{Role::job, "x", name, job_uri(name, "x")}));
    }
}

TEST(Identity, keeps_the_signs_of_a_dn_readable_and_escapes_the_wildcard) {
    EXPECT_EQ(function_uri("SubNetwork=1,ManagedElement=gnb-1"), "muster://function/SubNetwork=1,ManagedElement=gnb-1");
    EXPECT_EQ(function_uri("a*b/c"), "muster://function/a%2Ab%2Fc");
}

TEST(Identity, has_one_uri_for_all_spellings) {
    const Identity plain = parse_identity("muster://function/SubNetwork=1,x=a%2fb");
    EXPECT_EQ(parse_identity("muster://function/SubNetwork%3D1%2Cx%3Da%2Fb"), plain);
    EXPECT_EQ(plain.name, "SubNetwork=1,x=a/b");
}

TEST(Identity, of_what_is_not_ours_is_other) {
    for (const std::string san : {"DNS:operator.example",
                                  "spiffe://operator/ns/x",
                                  "muster://",
                                  "muster://function",
                                  "muster://function/",
                                  "muster://function/a/b",
                                  "muster://function/a?b",
                                  "muster://function/a%2",
                                  "muster://function/a%zz",
                                  "muster://function/a%00b",
                                  "muster://function/a%0Ab",
                                  "muster://admin/x",
                                  "muster://job/only-the-job",
                                  "muster://job//x",
                                  "MUSTER://function/a",
                                  ""}) {
        EXPECT_EQ(parse_identity(san), (Identity{Role::other, "", "", san}));
    }
}

} // namespace
} // namespace muster::tls
