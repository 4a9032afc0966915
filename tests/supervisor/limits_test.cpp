// SPDX-License-Identifier: MIT
//
// What of the system binds before --max-connections, from a /proc and a /sys of the test's own.
#include "supervisor/limits.h"

#include "child.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
#include <sys/resource.h>

namespace cloister::supervisor {
namespace {

namespace fs = std::filesystem;

class Bounds : public testing::Test {
  protected:
    Bounds() {
        std::string name = (fs::temp_directory_path() / "cloister-limits-XXXXXX").string();
        root_ = mkdtemp(name.data());
        put("proc/sys/kernel/pid_max", "4194304\n");
        put("proc/sys/kernel/threads-max", "4000000\n");
        put("proc/meminfo", "MemTotal:  900000000 kB\nMemAvailable:  800000000 kB\n");
        put("proc/self/cgroup", "0::/system.slice/cloister.service\n");
    }
    ~Bounds() override { fs::remove_all(root_); }

    void put(const fs::path& file, const char* text) const {
        fs::create_directories((root_ / file).parent_path());
        std::ofstream{root_ / file} << text;
    }
    /// Those of this machine's own, which are not read from files, left out.
    [[nodiscard]] std::vector<Bound> found(unsigned connections = 60'000) const {
        auto all = bounds(connections, cost, own_processes, root_);
        std::erase_if(all, [](const Bound& bound) { return bound.name.starts_with("RLIMIT"); });
        return all;
    }

    static constexpr Cost cost{58 * 1024, 105 * 1024};
    unsigned own_processes = 2; // supervisor and listener
    fs::path root_;
};

TEST_F(Bounds, NothingBindsOnALargeMachine) {
    EXPECT_TRUE(found().empty());
}

TEST_F(Bounds, PidMaxLeavesRoomForTheProcessesOfOthers) {
    put("proc/sys/kernel/pid_max", "32768\n");
    ASSERT_EQ(found().size(), 1U);
    EXPECT_EQ(found()[0].name, "kernel.pid_max");
    EXPECT_EQ(found()[0].is, 32768U);
    EXPECT_EQ(found()[0].allows, 32768U - 256);
    EXPECT_TRUE(found(32'000).empty());
}

TEST_F(Bounds, TheSmallestComesFirst) {
    put("proc/sys/kernel/pid_max", "32768\n");
    put("proc/meminfo", "MemAvailable:  1058192 kB\n");
    ASSERT_EQ(found().size(), 2U);
    EXPECT_EQ(found()[0].name, "available memory");
    EXPECT_EQ(found()[0].allows, 10'000U);
}

TEST_F(Bounds, AControlGroupsLimitAndThoseAboveItCount) {
    put("sys/fs/cgroup/system.slice/cloister.service/pids.max", "max\n");
    put("sys/fs/cgroup/system.slice/pids.max", "502\n");
    put("sys/fs/cgroup/system.slice/cloister.service/memory.max", "1083588608\n");
    const auto all = found();
    ASSERT_EQ(all.size(), 2U);
    EXPECT_EQ(all[0].name, "pids.max");
    EXPECT_EQ(all[0].allows, 500U);
    EXPECT_EQ(all[1].name, "memory.max");
    EXPECT_EQ(all[1].allows, 10'000U);
}

TEST_F(Bounds, TheFirstVersionOfControlGroupsCountsToo) {
    put("proc/self/cgroup", "5:memory:/a\n4:cpu,pids:/b/c\n0::/\n");
    put("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "115908608\n");
    put("sys/fs/cgroup/cpu,pids/b/pids.max", "102\n");
    const auto all = found();
    ASSERT_EQ(all.size(), 2U);
    EXPECT_EQ(all[0].name, "pids.max");
    EXPECT_EQ(all[0].allows, 100U);
    EXPECT_EQ(all[1].name, "memory.limit_in_bytes");
    EXPECT_EQ(all[1].allows, 1000U);
}

TEST_F(Bounds, ProcessesThatAreThereAlreadyTakeTheirPlaces) {
    put("sys/fs/cgroup/system.slice/cloister.service/pids.max", "100\n");
    put("sys/fs/cgroup/system.slice/cloister.service/pids.current", "7\n"); // we are one of them
    put("sys/fs/cgroup/system.slice/pids.max", "120\n");
    put("sys/fs/cgroup/system.slice/pids.current", "59\n");
    const auto all = found();
    ASSERT_EQ(all.size(), 1U);
    EXPECT_EQ(all[0].is, 120U) << "there the least is left";
    EXPECT_EQ(all[0].allows, 60U) << "the listener is to come";
}

TEST_F(Bounds, LeaveRoomForAReleaser) {
    own_processes = 3;
    put("sys/fs/cgroup/system.slice/pids.max", "12\n");
    EXPECT_EQ(found()[0].allows, 9U);
    put("sys/fs/cgroup/system.slice/pids.current", "1\n");
    EXPECT_EQ(found()[0].allows, 9U);
}

TEST_F(Bounds, OnlyHardOnesAreEnforced) {
    put("proc/meminfo", "MemAvailable:  8832 kB\n"); // for 6 connections
    EXPECT_EQ(allowed_connections(60'000, found()), 60'000U);
    put("sys/fs/cgroup/system.slice/pids.max", "52\n");
    EXPECT_EQ(allowed_connections(60'000, found()), 50U);
    EXPECT_EQ(allowed_connections(20, found(20)), 20U);
    put("sys/fs/cgroup/system.slice/cloister.service/memory.max", "9463808\n");
    EXPECT_EQ(allowed_connections(60'000, found()), 10U);
}

TEST_F(Bounds, LeaveOneConnectionAtLeast) {
    put("sys/fs/cgroup/system.slice/pids.max", "1\n");
    EXPECT_EQ(allowed_connections(60'000, found()), 1U);
}

TEST_F(Bounds, SayWhatAConnectionIsCountedWith) {
    put("sys/fs/cgroup/system.slice/cloister.service/memory.max", "9463808\n");
    ASSERT_EQ(found().size(), 1U);
    EXPECT_EQ(found()[0].consequence,
              "at 105 KiB a connection whose buffers are full (58 KiB an idle one): no more "
              "are accepted; raise it (MemoryMax=), or lower --socket-buffer");
}

TEST_F(Bounds, ThatTheKernelChoosesBuffersByCountsTheLargest) {
    EXPECT_EQ(largest_automatic_buffers(root_), 0U) << "not known";
    put("proc/sys/net/ipv4/tcp_wmem", "4096\t16384\t4194304\n");
    put("proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456\n");
    EXPECT_EQ(largest_automatic_buffers(root_), 10'485'760U);
    EXPECT_EQ(connection_cost(1 << 20).worst, (58U + 64U + 1024U) * 1024U);
}

TEST_F(Bounds, OnProcessesOfTheUserAreEnforcedAsTheHardLimitSays) {
    const auto report = test::in_child([this] {
        rlimit processes{};
        getrlimit(RLIMIT_NPROC, &processes);
        processes = {10, std::min<rlim_t>(processes.rlim_max, 40)}; // the listener raises the soft one
        setrlimit(RLIMIT_NPROC, &processes);
        const auto all = bounds(60'000, cost, own_processes, root_);
        return fmt::format("{} {} {} {}", all.at(0).name, all.at(0).is, all.at(0).allows,
                           allowed_connections(60'000, all));
    });
    EXPECT_EQ(report, "RLIMIT_NPROC 40 37 37") << "supervisor, listener and log relay are three of them";
}

TEST_F(Bounds, WhatCannotBeReadDoesNotBind) {
    fs::remove_all(root_ / "proc");
    EXPECT_TRUE(found().empty());
}

TEST(Shares, AreWhatIsWantedWhereThatFitsAndInProportionElse) {
    EXPECT_EQ(shares({1000}, 1000), (std::vector<unsigned>{1000}));
    EXPECT_EQ(shares({1000}, 7), (std::vector<unsigned>{7}));
    EXPECT_EQ(shares({100, 300}, 400), (std::vector<unsigned>{100, 300}));
    EXPECT_EQ(shares({100, 300}, 40), (std::vector<unsigned>{10, 30}));
    EXPECT_EQ(shares({1, 999}, 10), (std::vector<unsigned>{1, 9})) << "none is without";
    EXPECT_EQ(shares({1U << 20, 1U << 20}, 1U << 20), (std::vector<unsigned>{1U << 19, 1U << 19}));
}

} // namespace
} // namespace cloister::supervisor
