// SPDX-License-Identifier: MIT
// Service goes on whatever happens to a part of it, and nothing outlives the supervisor.
#include "client.h"
#include "harness.h"

#include <csignal>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <regex>

namespace cloister::live {
namespace {

using Clock = std::chrono::steady_clock;

TEST(OnTime, NobodyOutlivesAKilledSupervisorByASecond) {
    Daemon daemon;
    std::vector<Client> clients;
    for (int i = 0; i < 100; ++i) {
        clients.emplace_back(daemon.address());
        ASSERT_TRUE(clients.back().echoes("hello"));
    }
    const std::vector<pid_t> cells = daemon.cells();
    const pid_t listener = daemon.listener();
    ASSERT_EQ(cells.size(), clients.size());
    daemon.signal(SIGKILL);
    EXPECT_EQ(daemon.ends_within(1s), -SIGKILL);
    EXPECT_TRUE(daemon.leaves_nobody_within(1s));
    EXPECT_FALSE(is_alive(listener));
    for (const pid_t cell : cells) {
        EXPECT_FALSE(is_alive(cell));
    }
    EXPECT_TRUE(refuses(daemon.address()));
    for (const Client& client : clients) {
        EXPECT_TRUE(client.ends_within(1s));
    }
}

TEST(OnTime, AKilledListenerIsReplacedWithinASecondAndNoClientIsRefused) {
    const Daemon daemon;
    const Client before{daemon.address()};
    ASSERT_TRUE(before.echoes("hello"));
    const pid_t old = daemon.listener();
    const auto begun = Clock::now();
    ASSERT_EQ(::kill(old, SIGKILL), 0);
    const Client between{daemon.address()}; // throws if refused
    between.send("between");
    EXPECT_EQ(between.receive(7, 1s), "between");
    EXPECT_LE(Clock::now() - begun, 1s);
    EXPECT_NE(daemon.listener(), old);
    EXPECT_NE(daemon.listener(), 0);
    EXPECT_TRUE(Client{daemon.address()}.echoes("after"));
    EXPECT_TRUE(before.ends_within(1s)) << "its cells end with a listener";
}

TEST(OnTime, ACrashedListenerIsReplacedAgainAndAgain) {
    const Daemon daemon;
    for (int i = 0; i < 3; ++i) {
        const pid_t old = daemon.listener();
        ASSERT_NE(old, 0);
        ASSERT_EQ(::kill(old, SIGSEGV), 0);
        const Client client{daemon.address()};
        EXPECT_TRUE(client.echoes("again", 5s)) << i;
        EXPECT_NE(daemon.listener(), old);
    }
}

TEST(OnTime, AListenerThatNeverStaysUpEndsTheDaemonWith70) {
    Daemon daemon;
    const auto until = Clock::now() + 60s;
    while (!daemon.ends_within(0ms) && Clock::now() < until) {
        if (const pid_t listener = daemon.listener(); listener != 0) {
            ::kill(listener, SIGSEGV);
        }
        std::this_thread::sleep_for(5ms);
    }
    EXPECT_EQ(daemon.ends_within(1s), 70) << daemon.log();
    EXPECT_NE(daemon.log().find("the listener ended again and again"), std::string::npos) << daemon.log();
}

// The self-test of the new listener stands behind the waiting clients: it must neither fail for that nor take
// them along.
TEST(Recovery, AReplacedListenerKeepsTheClientsThatFillIt) {
    const Daemon daemon{{.options = {"--max-connections=1"}}};
    const Client first{daemon.address()};
    ASSERT_TRUE(first.echoes("first"));
    const Client second{daemon.address()};
    const Client third{daemon.address()};
    daemon.signal_listener(SIGKILL);
    ASSERT_TRUE(second.echoes("second", 5s));
    const pid_t listener = daemon.listener();
    for (int i = 0; i < 12; ++i) {
        std::this_thread::sleep_for(1s);
        ASSERT_TRUE(second.echoes("still here", 2s)) << "after " << i + 1 << " s";
    }
    EXPECT_EQ(daemon.listener(), listener);
}

TEST(Recovery, AStoppedListenerServesItsBacklogWhenItContinues) {
    const Daemon daemon;
    const Client before{daemon.address()};
    ASSERT_TRUE(before.echoes("hello"));
    const pid_t listener = daemon.listener();
    ASSERT_EQ(::kill(listener, SIGSTOP), 0);
    ASSERT_TRUE(within(2s, [&] { return state_of(listener) == 'T'; }));
    EXPECT_TRUE(before.echoes("cells don't need it"));
    const Client waiting{daemon.address()};
    waiting.send("waiting");
    EXPECT_TRUE(waiting.is_quiet_for(300ms));
    ASSERT_EQ(::kill(listener, SIGCONT), 0);
    EXPECT_EQ(waiting.receive(7), "waiting");
    EXPECT_EQ(daemon.listener(), listener);
    for (int i = 0; i < 3; ++i) {
        ASSERT_EQ(::kill(listener, SIGSTOP), 0);
        ASSERT_TRUE(within(2s, [&] { return state_of(listener) == 'T'; }));
        ASSERT_EQ(::kill(listener, SIGCONT), 0);
    }
    EXPECT_TRUE(Client{daemon.address()}.echoes("after"));
    EXPECT_EQ(daemon.listener(), listener);
}

TEST(Recovery, AStoppedCellContinuesWhereItWas) {
    const Daemon daemon;
    const Client client{daemon.address()};
    ASSERT_TRUE(client.echoes("hello"));
    const pid_t cell = daemon.only_cell();
    for (int i = 0; i < 3; ++i) {
        ASSERT_EQ(::kill(cell, SIGSTOP), 0);
        ASSERT_TRUE(within(2s, [&] { return state_of(cell) == 'T'; }));
        client.send("while it stood");
        EXPECT_TRUE(client.is_quiet_for(100ms));
        ASSERT_EQ(::kill(cell, SIGCONT), 0);
        EXPECT_EQ(client.receive(14), "while it stood");
    }
    EXPECT_EQ(daemon.only_cell(), cell);
}

TEST(Recovery, ACellStoppedInTheMiddleOfAStreamLosesNothing) {
    const Daemon daemon;
    const Client client{daemon.address()};
    ASSERT_TRUE(client.echoes("hello"));
    const pid_t cell = daemon.only_cell();
    std::thread nuisance{[&] {
        for (int i = 0; i < 40; ++i) {
            ::kill(cell, SIGSTOP);
            std::this_thread::sleep_for(3ms);
            ::kill(cell, SIGCONT);
            std::this_thread::sleep_for(3ms);
        }
    }};
    const std::string bytes = random_bytes(std::size_t{32} << 20);
    EXPECT_TRUE(client.exchange(bytes) == bytes);
    nuisance.join();
    EXPECT_TRUE(client.echoes("after"));
}

TEST(Recovery, SignalsOfATerminalOrAServiceManagerDoNotCutAConnection) {
    const Daemon daemon;
    const Client client{daemon.address()};
    ASSERT_TRUE(client.echoes("hello"));
    const pid_t cell = daemon.only_cell();
    for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGTSTP, SIGCHLD, SIGPIPE,
                             SIGCONT, SIGWINCH, SIGURG, 40}) {
        ASSERT_EQ(::kill(cell, number), 0);
        EXPECT_TRUE(client.echoes("still here")) << "after signal " << number;
    }
    EXPECT_EQ(daemon.only_cell(), cell);
}

TEST(Recovery, SignalsToTheListenerDoNotEndIt) {
    const Daemon daemon;
    const Client client{daemon.address()};
    ASSERT_TRUE(client.echoes("hello"));
    const pid_t listener = daemon.listener();
    for (const int number :
         {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGTSTP, SIGCHLD, SIGPIPE, 40}) {
        ASSERT_EQ(::kill(listener, number), 0);
    }
    std::this_thread::sleep_for(100ms);
    EXPECT_TRUE(client.echoes("still here"));
    EXPECT_TRUE(Client{daemon.address()}.echoes("next"));
    EXPECT_EQ(daemon.listener(), listener);
}

/// `attach` holds the process for a while; the connection and the listener go on afterwards, and under strace
/// also meanwhile.
void expect_service_survives(const Daemon& daemon, pid_t traced, const std::vector<std::string>& tracer) {
    const Client client{daemon.address()};
    ASSERT_TRUE(client.echoes("before"));
    {
        Background background{tracer};
        ASSERT_TRUE(within(10s, [&] { return status_of(traced)["TracerPid"] != "0"; }))
            << "it can't be traced";
        EXPECT_TRUE(client.echoes("traced"));
        EXPECT_TRUE(Client{daemon.address()}.echoes("another, traced"));
        background.end(SIGINT);
    }
    ASSERT_TRUE(within(5s, [&] { return status_of(traced)["TracerPid"] == "0"; }));
    EXPECT_TRUE(client.echoes("after"));
    EXPECT_TRUE(Client{daemon.address()}.echoes("another"));
    EXPECT_TRUE(is_alive(traced));
}

void skip_unless_can_trace(const std::string& program) {
    if (!am_root()) {
        GTEST_SKIP() << "processes that can't be dumped are traced by root only";
    }
    if (!is_installed(program)) {
        GTEST_SKIP() << program << " is not installed";
    }
}

TEST(Recovery, StraceOnACellIsSurvived) {
    skip_unless_can_trace("strace");
    if (IsSkipped()) {
        return;
    }
    const Daemon daemon;
    const Client client{daemon.address()};
    ASSERT_TRUE(client.echoes("hello"));
    const pid_t cell = daemon.only_cell();
    expect_service_survives(daemon, cell, {"strace", "-o", "/dev/null", "-p", std::to_string(cell)});
    EXPECT_TRUE(client.echoes("after"));
}

TEST(Recovery, StraceOnTheListenerAndItsNewCellsIsSurvived) {
    skip_unless_can_trace("strace");
    if (IsSkipped()) {
        return;
    }
    const Daemon daemon;
    const pid_t listener = daemon.listener();
    expect_service_survives(daemon, listener,
                            {"strace", "-f", "-o", "/dev/null", "-p", std::to_string(listener)});
    EXPECT_EQ(daemon.listener(), listener);
}

TEST(Recovery, GdbOnACellAndOnTheListenerIsSurvived) {
    skip_unless_can_trace("gdb");
    if (IsSkipped()) {
        return;
    }
    const Daemon daemon;
    const Client client{daemon.address()};
    ASSERT_TRUE(client.echoes("hello"));
    const pid_t cell = daemon.only_cell();
    const pid_t listener = daemon.listener();
    for (const pid_t traced : {cell, listener}) {
        const Outcome gdb = run_program({"gdb", "-nx", "--batch", "-p", std::to_string(traced), "-ex",
                                         "info registers pc", "-ex", "detach"});
        EXPECT_EQ(gdb.exit_code, 0) << gdb.err;
        EXPECT_TRUE(std::regex_search(gdb.out, std::regex{"\\npc +0x"})) << gdb.out << gdb.err;
        EXPECT_TRUE(client.echoes("after"));
        EXPECT_TRUE(Client{daemon.address()}.echoes("another"));
    }
    EXPECT_EQ(daemon.listener(), listener);
    EXPECT_TRUE(is_alive(cell));
}

} // namespace
} // namespace cloister::live
