/// Where a job's rows are: here and staying here, elsewhere, or on their way.
#include "function/agent_fixture.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

namespace muster::function {
namespace {

using namespace testing; // NOLINT(google-build-using-namespace): the fixture

TEST_F(AgentTest, starts_a_worker_for_data_that_is_elsewhere) {
    Propose stage = proposal();
    stage.sources.clear();
    order(stage);
    EXPECT_TRUE(last<Accept>().sources.empty());
    order(Prepare{"j1", recipe_text, DataElsewhere{.matrix = {.rows = 10, .columns = 3, .digest = "m"}}});
    ASSERT_EQ(launcher.log.alive, 1);
    EXPECT_TRUE(launcher.log.matrix.empty());
    EXPECT_EQ(data.memory_bytes, -1) << "nothing is encoded";
    const auto& prepare = std::get<WorkerPrepare>(launcher.log.orders.front());
    ASSERT_TRUE(prepare.data);
    EXPECT_EQ(prepare.data->matrix.rows, 10);
    worker_says(Prepared{.job = "j1", .matrix = prepare.data->matrix, .training_rows = 9});
    EXPECT_EQ(last<Prepared>().matrix.digest, "m");
    EXPECT_EQ(last<Prepared>().training_rows, 9);
}

TEST_F(AgentTest, says_statistics_of_pinned_rows_and_encodes_by_what_all_have_agreed_on) {
    Propose asked = proposal();
    asked.layout = DataLayout::pinned;
    order(asked);
    const Prepare first{"j1", recipe_text};
    order(first);
    agent->step(clock.steady_now());
    EXPECT_EQ(data.least, 10);
    EXPECT_EQ(last<Gathered>().statistics.rows, 40);
    EXPECT_EQ(data.memory_bytes, -1) << "nothing is encoded";
    link.sent.clear();
    order(first); // may come twice
    EXPECT_EQ(last<Gathered>().statistics.rows, 40);
    const Prepare second{"j1", recipe_text, {}, Preprocessing{.inputs = {}, .target = {.name = "y", .mean = 4.0}}};
    order(second);
    agent->step(clock.steady_now());
    EXPECT_EQ(data.encoded_by, second.preprocessing);
    worker_says(Prepared{.job = "j1", .training_rows = 36, .validation_rows = 4});
    EXPECT_NE(last<Failed>().reason.find("policy.group_rows_min"), std::string::npos) << "scores of 4 rows";
}

TEST_F(AgentTest, quotes_nothing_of_pinned_rows) {
    data.statistics = Error{ErrorCode::invalid_argument, "\"secret\" is not a number", "train.csv: row 3, column x"};
    Propose asked = proposal();
    asked.layout = DataLayout::pinned;
    order(asked);
    order(Prepare{"j1", recipe_text});
    agent->step(clock.steady_now());
    EXPECT_EQ(last<Failed>().reason.find("secret"), std::string::npos);
    EXPECT_NE(last<Failed>().reason.find("row 3, column x"), std::string::npos);
}

TEST_F(AgentTest, encodes_by_nothing_that_it_was_not_asked_about) {
    order(proposal());
    order(Prepare{"j1", recipe_text, {}, Preprocessing{}});
    EXPECT_NE(last<Failed>().reason.find("nothing was gathered"), std::string::npos);
}

TEST_F(AgentTest, refuses_a_preparation_that_does_not_fit_the_proposal) {
    order(proposal());
    order(Prepare{"j1", recipe_text, DataElsewhere{}});
    EXPECT_EQ(last<Failed>().reason, "the preparation describes data that the proposal says is here");
    order(Release{"j1", "again"});
    Propose stage = proposal();
    stage.sources.clear();
    order(stage);
    order(Prepare{"j1", recipe_text});
    EXPECT_EQ(last<Failed>().reason, "the proposal names no data and the preparation describes none");
}

TEST_F(AgentTest, keeps_rows_of_others_for_the_next_attempt_and_deletes_them_at_the_end) {
    Propose offered = proposal();
    offered.sources.clear();
    offered.receives_rows = true;
    const MatrixInfo info{.rows = 10, .columns = 2, .digest = "m"};
    const auto length_of_features = [&] {
        order(offered);
        order(Prepare{offered.job, recipe_text, DataElsewhere{.matrix = info}});
        const auto& landing = launcher.log.limits.landing;
        struct stat facts {};
        return landing.size() == 2 && ::fstat(landing[0].fd, &facts) == 0 ? facts.st_size : -1;
    };
    ASSERT_EQ(length_of_features(), 0);
    ASSERT_EQ(::pwrite(launcher.log.limits.landing[0].fd, "abcd", 4, 0), 4); // as its worker does
    order(Release{"j1", "cut", true});
    offered.job = "j1-2";
    EXPECT_EQ(length_of_features(), 4);
    order(Release{"j1-2", "finished", false});
    offered.job = "j1-3";
    EXPECT_EQ(length_of_features(), 0);
}

TEST_F(AgentTest, has_no_room_for_more_rows_than_its_policy_allows) {
    Propose offered = proposal();
    offered.sources.clear();
    offered.receives_rows = true;
    order(offered);
    order(Prepare{
        "j1", recipe_text, DataElsewhere{.matrix = {.rows = std::int64_t{1} << 40U, .columns = 9, .digest = "m"}}});
    EXPECT_NE(last<Failed>().reason.find("policy.received_mb_max"), std::string::npos) << last<Failed>().reason;
}

} // namespace
} // namespace muster::function
