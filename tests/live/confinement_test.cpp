// SPDX-License-Identifier: MIT
// What the kernel says of a listener and of a cell that serves a client.
#include "client.h"
#include "harness.h"

#include <array>
#include <filesystem>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <regex>
#include <sstream>
#include <sys/stat.h>
#include <unistd.h>

namespace cloister::live {
namespace {

class Confined : public ::testing::TestWithParam<bool> {
  protected:
    Confined() : client_{daemon_.address()} {
        EXPECT_TRUE(client_.echoes("hello"));
        cell_ = daemon_.only_cell();
        pid_ = GetParam() ? cell_ : daemon_.listener();
        status_ = status_of(pid_);
    }
    Daemon daemon_;
    Client client_;
    pid_t cell_ = 0;
    pid_t pid_ = 0;
    std::map<std::string, std::string> status_;
};

INSTANTIATE_TEST_SUITE_P(Process, Confined, ::testing::Bool(),
                         [](const auto& instance) { return instance.param ? "Cell" : "Listener"; });

TEST_P(Confined, HasNoCapability) {
    for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapAmb"}) {
        EXPECT_EQ(status_[set], "0000000000000000") << set;
    }
    if (am_root()) {
        EXPECT_EQ(status_["CapBnd"], "0000000000000000");
    }
    // Without CAP_SETPCAP nobody can empty it; under no_new_privs it means nothing. But it is said.
    EXPECT_EQ(daemon_.ready().at("capability_bounding_set"),
              status_["CapBnd"] == "0000000000000000" ? "empty" : "kept, inert under no_new_privs");
}

TEST_P(Confined, CanNeverGainPrivileges) {
    EXPECT_EQ(status_["NoNewPrivs"], "1");
}

TEST_P(Confined, IsUnderTheOneSeccompFilter) {
    EXPECT_EQ(status_["Seccomp"], "2");
    const int own = std::stoi(status_of(::getpid())["Seccomp_filters"]);
    EXPECT_EQ(std::stoi(status_["Seccomp_filters"]), own + 1)
        << "a cell inherits the listener's filter and adds none";
}

TEST_P(Confined, CatchesNoSignal) {
    EXPECT_EQ(status_["SigCgt"], "0000000000000000");
    EXPECT_EQ(status_["SigIgn"], "0000000000000000");
}

TEST_P(Confined, HasOneThread) {
    EXPECT_EQ(status_["Threads"], "1");
}

TEST_P(Confined, IsTheUserThatWasAskedForAndInNoOtherGroup) {
    if (!am_root()) {
        EXPECT_EQ(status_["Uid"], fmt::format("{0}\t{0}\t{0}\t{0}", ::getuid()));
        return;
    }
    const std::string four = fmt::format("{0}\t{0}\t{0}\t{0}", daemon_id);
    EXPECT_EQ(status_["Uid"], four);
    EXPECT_EQ(status_["Gid"], four);
    EXPECT_EQ(status_["Groups"].find_first_not_of(" \t"), std::string::npos) << status_["Groups"];
}

TEST_P(Confined, CannotBeReadByItsOwnUser) {
    // PR_SET_DUMPABLE 0 gives its files in /proc to root (proc(5)).
    if (am_root()) {
        GTEST_SKIP() << "root may read everything";
    }
    EXPECT_TRUE(read_file(fmt::format("/proc/{}/maps", pid_)).empty());
    EXPECT_TRUE(descriptors_of(pid_).empty());
    EXPECT_TRUE(is_alive(pid_)) << "of one that is gone nothing can be read, either";
    EXPECT_FALSE(read_file("/proc/self/maps").empty());
    EXPECT_FALSE(descriptors_of(::getpid()).empty());
}

TEST_P(Confined, LeavesNoCoreAndACellHasItsCpuLimit) {
    std::istringstream limits{read_file(fmt::format("/proc/{}/limits", pid_))};
    bool core = false;
    bool cpu = false;
    for (std::string line; std::getline(limits, line);) {
        std::istringstream values{line.substr(std::min<std::size_t>(line.size(), 26))};
        std::string soft;
        std::string hard;
        values >> soft >> hard;
        if (line.starts_with("Max core file size")) {
            core = true;
            EXPECT_EQ(soft + " " + hard, "0 0");
        }
        if (line.starts_with("Max cpu time")) {
            cpu = true;
            EXPECT_EQ(soft, GetParam() ? "10" : "unlimited") << "a listener's own time has no limit";
        }
    }
    EXPECT_TRUE(core && cpu);
}

TEST_P(Confined, HoldsOnlyItsDescriptors) {
    if (!am_root()) {
        GTEST_SKIP() << "only root may see the descriptors of a process that can't be dumped";
    }
    if (GetParam()) {
        EXPECT_EQ(descriptors_of(pid_), std::vector<int>{0}) << "the connection";
    } else {
        // 0 is free for the next connection, as soon as the listener has closed its copy of the last: the
        // cell may have answered before that.
        const std::vector<int> own{1, 2, 3, 5};
        (void)within(5s, [&] { return descriptors_of(pid_) == own; });
        EXPECT_EQ(descriptors_of(pid_), own) << "signals, log, supervisor, the socket";
    }
}

class Supervisor : public ::testing::Test {
  protected:
    Daemon daemon_;
    std::map<std::string, std::string> status_ = status_of(daemon_.pid());
};

TEST_F(Supervisor, GivesUpRootAndAllCapabilities) {
    for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapAmb"}) {
        EXPECT_EQ(status_[set], "0000000000000000") << set;
    }
    if (!am_root()) {
        GTEST_SKIP() << "it had no more to give up";
    }
    EXPECT_EQ(status_["CapBnd"], "0000000000000000");
    EXPECT_EQ(status_["Uid"], fmt::format("{0}\t{0}\t{0}\t{0}", daemon_id));
    EXPECT_EQ(status_["Gid"], fmt::format("{0}\t{0}\t{0}\t{0}", daemon_id));
    EXPECT_EQ(status_["Groups"].find_first_not_of(" \t"), std::string::npos);
}

TEST_F(Supervisor, CanNeverGainPrivileges) {
    EXPECT_EQ(status_["NoNewPrivs"], "1");
}

TEST_F(Supervisor, CatchesNoSignalAndHasOneThread) {
    EXPECT_EQ(status_["SigCgt"], "0000000000000000");
    EXPECT_EQ(status_["SigIgn"], "0000000000000000");
    EXPECT_EQ(status_["Threads"], "1");
}

TEST_F(Supervisor, CannotBeDumpedOrTracedByItsOwnUser) {
    struct stat owner {};
    ASSERT_EQ(::stat(fmt::format("/proc/{}/status", daemon_.pid()).c_str(), &owner), 0);
    EXPECT_EQ(owner.st_uid, 0U) << "of a process that can be dumped it is the process's own (proc(5))";
}

TEST_F(Supervisor, HoldsOnlyItsDescriptors) {
    if (!am_root()) {
        GTEST_SKIP() << "only root may see the descriptors of a process that can't be dumped";
    }
    std::map<std::string, int> kinds;
    for (const int fd : descriptors_of(daemon_.pid())) {
        const auto link = std::filesystem::read_symlink(fmt::format("/proc/{}/fd/{}", daemon_.pid(), fd));
        ++kinds[std::regex_replace(link.string(), std::regex{":\\[\\d+\\]|^/proc/\\d+/"}, "")];
    }
    const std::map<std::string, int> own{
        {"/dev/null", 2}, // 0 and 1, as it was started
        {"pipe", 21},     // 2, and both ends of 10 pipes to the log relay, 8 of them spare
        {"socket", 2},    // the listening one, the listener
        {"anon_inode:[signalfd]", 2},
        {"/memfd:cloister-shared (deleted)", 1},
        {"oom_score_adj", 1}, // its own
        {program_path("cloister-listener-echo"), 1}};
    EXPECT_EQ(kinds, own);
}

} // namespace
} // namespace cloister::live
