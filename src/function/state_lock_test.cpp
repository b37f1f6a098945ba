#include "base/id.h"
#include "function/state_lock.h"

#include <gtest/gtest.h>

namespace muster::function {
namespace {

TEST(StateLock, lets_one_agent_at_a_time_in) {
    const auto folder = std::filesystem::temp_directory_path() / ("muster-lock-" + random_hex(6));
    auto first = lock_state(folder);
    ASSERT_TRUE(first.ok()) << first.error().text();
    EXPECT_EQ(lock_state(folder).error().code, ErrorCode::conflict);
    first->reset();
    EXPECT_TRUE(lock_state(folder).ok());
    std::filesystem::remove_all(folder);
}

} // namespace
} // namespace muster::function
