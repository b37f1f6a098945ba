#include "base/id.h"
#include "function/capacity.h"
#include "function/catalogue.h"

#include <gtest/gtest.h>

#include <fstream>

namespace muster::function {
namespace {

namespace fs = std::filesystem;

/// A recorded machine in a temporary folder.
class Recorded : public ::testing::Test {
protected:
    void SetUp() override {
        put("proc/cpuinfo", "processor\t: 0\nmodel name\t: AMD EPYC\nprocessor\t: 1\nprocessor\t: 2\nprocessor\t: 3\n");
        put("proc/meminfo", "MemTotal:       16000000 kB\nMemAvailable:   10000000 kB\n");
    }
    void TearDown() override { fs::remove_all(root); }

    void put(const fs::path& name, const std::string& text) const {
        fs::create_directories((root / name).parent_path());
        std::ofstream{root / name} << text;
    }

    const fs::path root = fs::temp_directory_path() / ("muster-capacity-" + random_hex(6));
};

TEST_F(Recorded, without_limits_the_machine_is_the_capacity) {
    put("proc/self/cgroup", "0::/\n");
    const Capacity found = find_capacity({root, root}, {});
    EXPECT_DOUBLE_EQ(found.cpu_cores, 4.0);
    EXPECT_EQ(found.memory_bytes, static_cast<std::int64_t>(0.9 * 10'000'000.0 * 1024.0));
    EXPECT_EQ(found.cpu_model, "AMD EPYC");
    EXPECT_GT(found.storage_bytes, 0);
    EXPECT_EQ(found.gpu_count, 0);
}

TEST_F(Recorded, cgroup_v2_limits_hold_at_every_level) {
    put("proc/self/cgroup", "0::/site/agent\n");
    put("sys/fs/cgroup/site/cpu.max", "50000 100000\n");
    put("sys/fs/cgroup/site/agent/cpu.max", "max 100000\n");
    put("sys/fs/cgroup/site/agent/memory.max", "2000000000\n");
    put("sys/fs/cgroup/site/agent/memory.current", "500000000\n");
    const Capacity found = find_capacity({root, root}, {});
    EXPECT_DOUBLE_EQ(found.cpu_cores, 0.5);
    EXPECT_EQ(found.memory_bytes, 1'350'000'000);
}

TEST_F(Recorded, cgroup_v1_limits_are_read_as_well) {
    put("proc/self/cgroup", "4:memory:/agent\n2:cpu,cpuacct:/agent\n");
    put("sys/fs/cgroup/cpu/agent/cpu.cfs_quota_us", "25000\n");
    put("sys/fs/cgroup/cpu/agent/cpu.cfs_period_us", "100000\n");
    put("sys/fs/cgroup/memory/agent/memory.limit_in_bytes", "1000000000\n");
    put("sys/fs/cgroup/memory/agent/memory.usage_in_bytes", "0\n");
    const Capacity found = find_capacity({root, root}, {});
    EXPECT_DOUBLE_EQ(found.cpu_cores, 0.25);
    EXPECT_EQ(found.memory_bytes, 900'000'000);
}

TEST_F(Recorded, configuration_lowers_but_never_raises) {
    put("proc/self/cgroup", "0::/\n");
    put("dev/nvidia0", "");
    put("dev/nvidiactl", "");
    const Capacity found = find_capacity(
        {root, root}, {.cpu_cores = 8.0, .memory_bytes = 1000, .dpu_count = 1, .bandwidth_bits_per_second = 7});
    EXPECT_DOUBLE_EQ(found.cpu_cores, 4.0);
    EXPECT_EQ(found.memory_bytes, 1000);
    EXPECT_EQ(found.gpu_count, 1);
    EXPECT_EQ(found.dpu_count, 1);
    EXPECT_EQ(found.bandwidth_bits_per_second, 7);
}

TEST_F(Recorded, catalogue_digests_follow_the_content) {
    put("train.csv", "a,b\n1,2\n");
    Catalogue catalogue{{{.name = "d/train", .file = root / "train.csv", .may_leave = true},
                         {.name = "d/gone", .file = root / "no.csv"}}};
    catalogue.refresh();
    ASSERT_EQ(catalogue.sources().size(), 1U);
    const std::string before = catalogue.sources()[0].digest;
    ASSERT_EQ(catalogue.missing().size(), 1U);
    EXPECT_NE(catalogue.missing()[0].find("d/gone"), std::string::npos);
    put("train.csv", "a,b\n1,2\n3,4\n");
    catalogue.refresh();
    EXPECT_NE(catalogue.sources()[0].digest, before);
    EXPECT_EQ(catalogue.file_of("d/trian").error().nearest, "d/train");
}

} // namespace
} // namespace muster::function
