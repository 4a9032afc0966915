// SPDX-License-Identifier: MIT
// A listener that is stopped, or for which there is no room, is replaced, however long that takes.
#include "client.h"
#include "control_group.h"
#include "harness.h"

#include <atomic>
#include <csignal>
#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace cloister::live {
namespace {

constexpr auto longest_replacement = 30s; // after a listener has fallen silent

Json generation_after(const Daemon& daemon, unsigned generation, const std::string& service = "echo") {
    return daemon.await_record(
        "ready",
        [&](const Json& record) {
            return record.at("generation") > generation && record.at("service") == service;
        },
        longest_replacement);
}

bool is_served(const std::string& address) {
    try {
        return Client{address}.echoes("hello", 1s);
    } catch (const std::exception&) {
        return false;
    }
}

/// Clients that come again as soon as their connection has ended, or after a while.
class Insistent {
  public:
    Insistent(std::string address, std::size_t count) : address_{std::move(address)} {
        for (std::size_t i = 0; i < count; ++i) {
            threads_.emplace_back([this] { come_again(); });
        }
    }
    ~Insistent() { leave(); }
    Insistent(const Insistent&) = delete;
    Insistent& operator=(const Insistent&) = delete;

    void leave() {
        stop_ = true;
        for (std::thread& thread : threads_) {
            thread.join();
        }
        threads_.clear();
    }
    [[nodiscard]] unsigned served() const { return served_; }

  private:
    std::string address_;
    std::atomic<bool> stop_ = false;
    std::atomic<unsigned> served_ = 0;
    std::vector<std::thread> threads_;

    void come_again() {
        while (!stop_) {
            try {
                const Client client{address_};
                if (client.echoes("hello", 500ms)) {
                    ++served_;
                    for (int i = 0; i < 20 && !stop_ && client.is_quiet_for(100ms); ++i) {
                    }
                }
            } catch (const std::exception&) { // reset, or no answer in time
            }
        }
    }
};

TEST(Room, OfProcessesTakenByClientsWhoComeAgainEndsNothing) {
    if (const auto why = ControlGroup::unavailable("pids"); !why.empty()) {
        GTEST_SKIP() << why;
    }
    ControlGroup group{"pids", 12};
    const Daemon daemon{{.cgroup_procs = group.procs()}};
    Insistent clients{daemon.address(), 16};
    for (unsigned round = 1; round <= 3; ++round) {
        const unsigned before = clients.served();
        ASSERT_TRUE(within(30s, [&] { return clients.served() >= before + 16; })) << daemon.log();
        daemon.signal_listener(SIGKILL);
        (void)generation_after(daemon, round);
    }
    clients.leave();
    EXPECT_TRUE(is_served(daemon.address())) << daemon.log();
}

/// Processes that do nothing, but in that group. They may be more than its limit.
class Hogs {
  public:
    Hogs(const ControlGroup& group, std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) {
            const pid_t pid = fork();
            if (pid == 0) {
                ::prctl(PR_SET_PDEATHSIG, SIGKILL);
                for (;;) {
                    ::pause();
                }
            }
            pids_.push_back(pid);
            std::ofstream{group.procs()} << pid;
        }
    }
    ~Hogs() {
        for (const pid_t pid : pids_) {
            ::kill(pid, SIGKILL);
            ::waitpid(pid, nullptr, 0);
        }
    }
    Hogs(const Hogs&) = delete;
    Hogs& operator=(const Hogs&) = delete;

  private:
    std::vector<pid_t> pids_;
};

TEST(Room, OfProcessesThatOthersTookIsAwaitedWhileOtherServicesGoOn) {
    if (const auto why = ControlGroup::unavailable("pids"); !why.empty()) {
        GTEST_SKIP() << why;
    }
    ControlGroup group{"pids", 30};
    const Daemon daemon{live::Setup{.program = "cloister-services",
                                    .listen = {"127.0.0.1:0", "127.0.0.1:0"},
                                    .await_ready = false,
                                    .cgroup_procs = group.procs()}};
    (void)daemon.await_record("started");
    const auto record_of = [&](const std::string& event, const std::string& service) {
        return daemon.await_record(event,
                                   [&](const Json& record) { return record.at("service") == service; });
    };
    const Client client{record_of("ready", "s0").at("listen").at(0)};
    ASSERT_TRUE(client.echoes("hello"));
    {
        const Hogs hogs{group, 30};
        ASSERT_EQ(::kill(record_of("ready", "s1").at("listener_pid").get<pid_t>(), SIGKILL), 0);
        const Json waiting = record_of("service_waiting", "s1");
        EXPECT_EQ(waiting.at("level"), "warning");
        EXPECT_EQ(waiting.at("message"),
                  "cannot start a listener: fork (clone): EAGAIN (Resource temporarily unavailable); there "
                  "is no room for "
                  "another process: raise pids.max (TasksMax=), RLIMIT_NPROC of the user, or kernel.pid_max");
        ASSERT_TRUE(within(20s, [&] { // more often than a listener that crashes may
            return daemon.records("service_waiting").back().at("failures") >= 8;
        })) << daemon.log();
        EXPECT_TRUE(client.echoes("still here"));
    }
    EXPECT_EQ(generation_after(daemon, 1, "s1").at("service"), "s1");
    EXPECT_TRUE(is_served(record_of("ready", "s1").at("listen").at(0))) << daemon.log();
    EXPECT_TRUE(client.echoes("still here"));
}

TEST(Watchdog, AListenerThatIsStoppedIsReplaced) {
    const Daemon daemon;
    const Client before{daemon.address()};
    ASSERT_TRUE(before.echoes("hello"));
    const pid_t listener = daemon.listener();
    ASSERT_EQ(::kill(listener, SIGSTOP), 0);
    const Client waiting{daemon.address()};
    waiting.send("waiting");
    const Json silent = daemon.await_record("listener_silent", {}, longest_replacement);
    EXPECT_EQ(silent.at("pid"), listener);
    EXPECT_EQ(waiting.receive(7, longest_replacement), "waiting") << "its sockets stay with the supervisor";
    EXPECT_NE(daemon.listener(), listener);
    EXPECT_FALSE(is_alive(listener));
    EXPECT_TRUE(before.ends_within(1s)) << "its cells end with it";
}

TEST(Watchdog, AStopOfTheWholeGroupIsNoSilence) {
    const Daemon daemon;
    const pid_t listener = daemon.listener();
    for (const auto pause : {13s, 6s}) {
        for (const pid_t pid : {listener, daemon.pid(), daemon.relay()}) {
            ASSERT_EQ(::kill(pid, SIGSTOP), 0);
        }
        std::this_thread::sleep_for(pause);
        ASSERT_EQ(::kill(daemon.pid(), SIGCONT), 0);
        std::this_thread::sleep_for(500ms);
        for (const pid_t pid : {listener, daemon.relay()}) {
            ASSERT_EQ(::kill(pid, SIGCONT), 0);
        }
    }
    std::this_thread::sleep_for(5s);
    EXPECT_EQ(daemon.listener(), listener) << daemon.log();
    EXPECT_TRUE(daemon.records("listener_silent").empty()) << daemon.log();
    EXPECT_TRUE(is_served(daemon.address()));
}

TEST(Watchdog, AListenerThatStopsWhileItDrainsDoesNotKeepTheDaemon) {
    Daemon daemon{{.options = {"--drain-timeout=10m"}}};
    const Client client{daemon.address()};
    ASSERT_TRUE(client.echoes("hello"));
    const pid_t listener = daemon.listener();
    daemon.signal(SIGTERM);
    (void)daemon.await_record("stopping");
    ASSERT_EQ(::kill(listener, SIGSTOP), 0);
    EXPECT_EQ(daemon.ends_within(longest_replacement), 0) << daemon.log();
}

} // namespace
} // namespace cloister::live
