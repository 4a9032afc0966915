// SPDX-License-Identifier: MIT
// How a daemon ends, and what its clients see of that.
#include "client.h"
#include "harness.h"

#include <csignal>
#include <gtest/gtest.h>
#include <thread>

namespace cloister::live {
namespace {

class EndsOn : public ::testing::TestWithParam<int> {};

TEST_P(EndsOn, SignalWhenIdle) {
    Daemon daemon;
    daemon.signal(GetParam());
    EXPECT_EQ(daemon.ends_within(5s), 0);
    EXPECT_EQ(daemon.records("stopping").size(), 1U);
    EXPECT_TRUE(refuses(daemon.address()));
}
INSTANTIATE_TEST_SUITE_P(Stop, EndsOn, ::testing::Values(SIGTERM, SIGINT),
                         [](const auto& instance) { return instance.param == SIGTERM ? "Term" : "Int"; });

TEST(Drain, LetsConnectionsGoOnAndRefusesNewOnes) {
    Daemon daemon;
    Client client{daemon.address()};
    ASSERT_TRUE(client.echoes("before"));
    daemon.signal(SIGTERM);
    (void)daemon.await_record("stopping");
    EXPECT_TRUE(within(2s, [&] { return refuses(daemon.address()); }));
    const std::string bytes = random_bytes(1 << 20);
    EXPECT_TRUE(client.exchange(bytes) == bytes);
    EXPECT_FALSE(daemon.ends_within(200ms).has_value());
    client.half_close();
    EXPECT_EQ(client.receive_to_end(), "");
    EXPECT_EQ(daemon.ends_within(5s), 0);
    EXPECT_EQ(daemon.end_of(client.name()).at("reason"), "closed");
}

TEST(Drain, EndsTheRestWhenTheTimeIsOver) {
    Daemon daemon{{.options = {"--drain-timeout=1s"}}};
    std::vector<Client> clients;
    for (int i = 0; i < 20; ++i) {
        clients.emplace_back(daemon.address());
        ASSERT_TRUE(clients.back().echoes("hello"));
    }
    daemon.signal(SIGTERM);
    (void)daemon.await_record("stopping");
    EXPECT_FALSE(daemon.ends_within(700ms).has_value());
    EXPECT_TRUE(clients[0].echoes("in the drain"));
    EXPECT_EQ(daemon.ends_within(5s), 0);
    for (const Client& client : clients) {
        EXPECT_TRUE(client.ends_within(1s));
    }
    EXPECT_EQ(daemon.records("connection").size(), clients.size());
    for (const Json& record : daemon.records("connection")) {
        EXPECT_EQ(record.at("reason"), "ended") << record;
    }
}

TEST(Drain, IsCutShortByASecondTerm) {
    Daemon daemon{{.options = {"--drain-timeout=10m"}}};
    const Client client{daemon.address()};
    ASSERT_TRUE(client.echoes("hello"));
    daemon.signal(SIGTERM);
    (void)daemon.await_record("stopping");
    EXPECT_FALSE(daemon.ends_within(300ms).has_value());
    daemon.signal(SIGTERM);
    EXPECT_EQ(daemon.ends_within(2s), 0);
    EXPECT_TRUE(client.ends_within(1s));
}

TEST(Drain, FreesThePortAtOnce) {
    Daemon daemon;
    const std::string address = daemon.address();
    const Client client{address};
    ASSERT_TRUE(client.echoes("hello"));
    daemon.signal(SIGTERM);
    (void)daemon.await_record("stopping");
    ASSERT_TRUE(within(2s, [&] { return refuses(address); }));
    const Daemon successor{{.listen = {address}}};
    EXPECT_TRUE(Client{address}.echoes("again"));
    EXPECT_TRUE(client.echoes("still here"));
}

TEST(Drain, ServesNobodyTwiceWhenManyConnectAndLeave) {
    Daemon daemon{{.options = {"--drain-timeout=2s"}}};
    std::vector<Client> clients;
    for (int i = 0; i < 300; ++i) {
        clients.emplace_back(daemon.address());
    }
    ASSERT_TRUE(clients.back().echoes("hello"));
    daemon.signal(SIGTERM);
    EXPECT_EQ(daemon.ends_within(15s), 0) << "300 cells are ended in batches";
    EXPECT_EQ(daemon.records("connection").size(), clients.size());
}

TEST(End, AReaderThatResetsInMidWriteIsCalledReset) {
    const Daemon daemon;
    Client client{daemon.address(), 4096};
    const std::string name = client.name();
    const std::string bytes = random_bytes(65536);
    while (within(200ms, [&] { return client.send_some(bytes) != 0; })) {
    }
    client.reset();
    const Json end = daemon.end_of(name);
    EXPECT_EQ(end.at("reason"), "reset");
    EXPECT_EQ(end.at("exit"), 3);
    EXPECT_TRUE(daemon.has_cells(0));
    EXPECT_TRUE(Client{daemon.address()}.echoes("next"));
}

TEST(End, AResetAfterAHalfCloseIsCalledResetAsLongAsTheCellLives) {
    const Daemon daemon;
    Client client{daemon.address()};
    const std::string name = client.name();
    const std::string bytes = random_bytes(100'000);
    ASSERT_TRUE(client.exchange(bytes) == bytes);
    const pid_t cell = daemon.only_cell();
    ASSERT_EQ(::kill(cell, SIGSTOP), 0);
    ASSERT_TRUE(within(5s, [&] { return state_of(cell) == 'T'; }));
    client.half_close();
    client.reset();
    ASSERT_EQ(::kill(cell, SIGCONT), 0);
    const Json end = daemon.end_of(name);
    EXPECT_EQ(end.at("reason"), "reset");
    EXPECT_EQ(end.at("exit"), 3);
}

TEST(End, ControlAHalfCloseWithoutAResetIsCalledClosed) {
    const Daemon daemon;
    const Client client{daemon.address()};
    ASSERT_TRUE(client.echoes("hello"));
    const pid_t cell = daemon.only_cell();
    ASSERT_EQ(::kill(cell, SIGSTOP), 0);
    ASSERT_TRUE(within(5s, [&] { return state_of(cell) == 'T'; }));
    client.half_close();
    ASSERT_EQ(::kill(cell, SIGCONT), 0);
    EXPECT_EQ(client.receive_to_end(), "");
    EXPECT_EQ(daemon.end_of(client.name()).at("reason"), "closed");
}

TEST(End, AResetAfterTheEndOfTheCellCannotBeKnown) {
    const Daemon daemon;
    Client client{daemon.address(), 1 << 20}; // the kernel takes the whole echo off the cell
    const std::string name = client.name();
    client.send(random_bytes(100'000));
    client.half_close();
    EXPECT_EQ(daemon.end_of(name).at("reason"), "closed") << "handed to the kernel, and not read by anybody";
    client.reset();
    std::this_thread::sleep_for(200ms);
    EXPECT_EQ(daemon.records("connection").size(), 1U);
}

TEST(End, AUnixClientThatClosesBeforeItHasReadIsCalledReset) {
    const TemporaryDirectory directory;
    const Daemon daemon{{.listen = {"unix:" + directory.file("echo.socket")}}};
    Client client{daemon.address()};
    ASSERT_TRUE(client.echoes("hello"));
    const pid_t cell = daemon.only_cell();
    client.send("this comes back and is not read");
    ASSERT_FALSE(client.is_quiet_for(5s)) << "it is back";
    ASSERT_EQ(::kill(cell, SIGSTOP), 0);
    ASSERT_TRUE(within(5s, [&] { return state_of(cell) == 'T'; }));
    client.half_close();
    client.close();
    ASSERT_EQ(::kill(cell, SIGCONT), 0);
    EXPECT_EQ(daemon.await_record("connection").at("reason"), "reset");
}

TEST(End, AResetWithNothingInFlightIsCalledReset) {
    const Daemon daemon;
    Client client{daemon.address()};
    const std::string name = client.name();
    ASSERT_TRUE(client.echoes("hello"));
    client.reset();
    EXPECT_EQ(daemon.end_of(name).at("reason"), "reset");
}

TEST(End, AKilledCellIsCalledKilled) {
    const Daemon daemon;
    const Client client{daemon.address()};
    ASSERT_TRUE(client.echoes("hello"));
    ASSERT_EQ(::kill(daemon.only_cell(), SIGKILL), 0);
    EXPECT_TRUE(client.ends_within(2s));
    const Json end = daemon.end_of(client.name());
    EXPECT_EQ(end.at("reason"), "killed");
    EXPECT_EQ(end.at("signal"), SIGKILL);
}

TEST(End, ACrashedCellIsCalledCrashedAndTheNextClientIsServed) {
    const Daemon daemon;
    const Client client{daemon.address()};
    ASSERT_TRUE(client.echoes("hello"));
    ASSERT_EQ(::kill(daemon.only_cell(), SIGSEGV), 0);
    EXPECT_TRUE(client.ends_within(2s));
    const Json end = daemon.end_of(client.name());
    EXPECT_EQ(end.at("reason"), "crashed");
    EXPECT_EQ(end.at("signal"), SIGSEGV);
    EXPECT_TRUE(Client{daemon.address()}.echoes("next"));
}

TEST(End, AHundredCrashesLeaveNoZombie) {
    const Daemon daemon;
    for (int i = 0; i < 100; ++i) {
        const Client client{daemon.address()};
        ASSERT_TRUE(client.echoes("hello"));
        ASSERT_EQ(::kill(daemon.only_cell(), SIGABRT), 0);
        ASSERT_TRUE(daemon.has_cells(0));
    }
    EXPECT_TRUE(within(2s, [&] { return children_of(daemon.listener()).empty(); }));
}

} // namespace
} // namespace cloister::live
