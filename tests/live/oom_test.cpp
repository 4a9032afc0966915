// SPDX-License-Identifier: MIT
// Memory that runs out all the same ends the listener and its cells, and not the supervisor.
#include "client.h"
#include "control_group.h"
#include "harness.h"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
#include <linux/oom.h>
#include <stdexcept>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

namespace cloister::live {
namespace {

constexpr int half_of_the_scale = OOM_SCORE_ADJ_MAX / 2;

int score_of(pid_t pid) {
    const std::string text = read_file(fmt::format("/proc/{}/oom_score_adj", pid));
    return text.empty() ? OOM_SCORE_ADJ_MIN - 1 : std::stoi(text);
}

/// Sentences about the scores.
std::vector<std::string> warnings_of(const Daemon& daemon) {
    std::vector<std::string> found;
    for (const Json& record : daemon.records("warning")) {
        const std::string message = record.at("message");
        if (message.find("oom_score_adj") != std::string::npos) {
            found.push_back(message);
        }
    }
    return found;
}

/// Our own one, which a daemon inherits, for as long as this lives.
class OwnScore {
  public:
    explicit OwnScore(int score) { write(score); }
    ~OwnScore() { write(before_); }
    OwnScore(const OwnScore&) = delete;
    OwnScore& operator=(const OwnScore&) = delete;

  private:
    int before_ = score_of(::getpid());
    static void write(int score) {
        std::ofstream stream{"/proc/self/oom_score_adj"};
        EXPECT_TRUE(stream << score << std::flush) << score;
    }
};

void expect_raised(const Daemon& daemon, int supervisors) {
    const Client client{daemon.address()};
    ASSERT_TRUE(client.echoes("hello"));
    const int raised = std::min(supervisors + half_of_the_scale, OOM_SCORE_ADJ_MAX);
    EXPECT_EQ(score_of(daemon.pid()), supervisors);
    EXPECT_EQ(score_of(daemon.listener()), raised);
    EXPECT_EQ(score_of(daemon.only_cell()), raised);
}

TEST(OomScore, OfListenerAndCellsIsHalfOfTheScaleAboveTheSupervisors) {
    const Daemon daemon;
    if (!am_root() && !warnings_of(daemon).empty()) {
        GTEST_SKIP() << warnings_of(daemon).front();
    }
    EXPECT_TRUE(warnings_of(daemon).empty()) << daemon.log();
    expect_raised(daemon, score_of(::getpid()));
    daemon.signal_listener(SIGKILL);
    (void)daemon.await_record("ready", [](const Json& record) { return record.at("generation") == 2; });
    expect_raised(daemon, score_of(::getpid()));
}

TEST(OomScore, ThatLeavesNoRoomAboveItIsSaidAtStart) {
    for (const int own : {half_of_the_scale, half_of_the_scale + 1, 986, OOM_SCORE_ADJ_MAX}) {
        if (own < score_of(::getpid())) {
            continue;
        }
        const OwnScore changed{own};
        const Daemon daemon;
        if (own == half_of_the_scale) {
            EXPECT_TRUE(warnings_of(daemon).empty() || !am_root()) << daemon.log();
            continue;
        }
        ASSERT_EQ(warnings_of(daemon).size(), 1U) << daemon.log();
        if (am_root()) {
            expect_raised(daemon, own);
            EXPECT_EQ(warnings_of(daemon).front(),
                      fmt::format(
                          "/proc/self/oom_score_adj is {}, and the listener's can't be more than 1000: when "
                          "memory runs out, the kernel may end the supervisor, and with it all connections, "
                          "before the listener; start cloisterd with at most 500 (OOMScoreAdjust=, or a "
                          "memory request in Kubernetes)",
                          own));
        }
    }
}

/// Whether a process has been killed, be it that nobody has reaped it yet. For a forked child: allocates
/// nothing.
bool has_ended(pid_t pid) {
    char path[32];
    char text[128] = {};
    (void)std::snprintf(path, sizeof path, "/proc/%d/stat", pid);
    const int stat = ::open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t size = ::read(stat, text, sizeof text - 1);
    ::close(stat);
    const char* const name_end = std::strrchr(text, ')');
    return size <= 0 || name_end == nullptr || std::strchr("ZX", name_end[2]) != nullptr;
}

/// Writes into memory that belongs to no process, as one in a container does with a tmpfs, until `victim` has
/// ended. True if it has.
bool exhaust(const ControlGroup& group, pid_t victim) {
    const pid_t eater = ::fork();
    if (eater == 0) {
        const int procs = ::open(group.procs().c_str(), O_WRONLY | O_CLOEXEC);
        const int file = ::memfd_create("eater", MFD_CLOEXEC);
        const char page[4096] = {};
        if (::write(procs, "0", 1) != 1) {
            ::_exit(2);
        }
        while (!has_ended(victim)) {
            if (::write(file, page, sizeof page) < 0) {
                ::usleep(1000); // the one that was killed is not gone yet
            }
        }
        ::_exit(0);
    }
    if (eater < 0) {
        throw std::runtime_error("no process to use memory up");
    }
    int status = 0;
    if (!within(30s, [&] { return ::waitpid(eater, &status, WNOHANG) == eater; })) {
        ::kill(eater, SIGKILL);
        ::waitpid(eater, &status, 0);
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

TEST(OutOfMemory, EndsTheListenerAndNotTheSupervisorAndServiceGoesOn) {
    if (const auto why = ControlGroup::unavailable("memory"); !why.empty()) {
        GTEST_SKIP() << why;
    }
    if (score_of(::getpid()) > half_of_the_scale) {
        GTEST_SKIP() << "our oom_score_adj leaves no room above it";
    }
    const ControlGroup group{"memory", 40U << 20};
    {
        const Daemon daemon{{.cgroup_procs = group.procs()}};
        for (unsigned generation = 2; generation <= 4; ++generation) {
            std::vector<Client> clients;
            for (int i = 0; i < 20; ++i) {
                clients.emplace_back(daemon.address());
                ASSERT_TRUE(clients.back().echoes("hello"));
            }
            EXPECT_TRUE(exhaust(group, daemon.listener())) << daemon.log();
            (void)daemon.await_record(
                "ready", [&](const Json& record) { return record.at("generation") == generation; }, 20s);
            EXPECT_TRUE(is_alive(daemon.pid()));
            EXPECT_EQ(daemon.records("listener_died").size(), generation - 1);
            EXPECT_EQ(daemon.records("listener_died").back().at("signal"), SIGKILL);
            EXPECT_TRUE(Client{daemon.address()}.echoes("hello"));
        }
        EXPECT_GE(group.killed(), 3U);
    }
}

} // namespace
} // namespace cloister::live
