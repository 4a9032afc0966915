// SPDX-License-Identifier: MIT
// No connection lasts, costs or holds more than it may.
#include "client.h"
#include "harness.h"

#include <atomic>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <thread>

namespace cloister::live {
namespace {

using Clock = std::chrono::steady_clock;

std::chrono::milliseconds since(Clock::time_point begun) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begun);
}

/// Sends until nothing has gone for 200 ms: all buffers on the way are full.
void fill(const Client& client) {
    const std::string bytes = random_bytes(65536);
    while (within(200ms, [&] { return client.send_some(bytes) != 0; })) {
    }
}

void expect_idle_limit_holds(const Daemon& daemon, const Client& client) {
    ASSERT_TRUE(client.echoes("hello"));
    const auto begun = Clock::now();
    EXPECT_TRUE(client.ends_within(10s));
    EXPECT_GE(since(begun), 900ms);
    EXPECT_LE(since(begun), 4s);
    const Json end = daemon.await_record("connection");
    EXPECT_EQ(end.at("reason"), "idle");
    EXPECT_EQ(end.at("exit"), 1);
}

TEST(Limits, EndASilentTcpConnection) {
    const Daemon daemon{{.options = {"--idle-timeout=1s"}}};
    expect_idle_limit_holds(daemon, Client{daemon.address()});
}

TEST(Limits, EndASilentUnixConnection) {
    const TemporaryDirectory directory;
    const Daemon daemon{
        {.listen = {"unix:" + directory.file("echo.socket")}, .options = {"--idle-timeout=1s"}}};
    expect_idle_limit_holds(daemon, Client{daemon.address()});
}

TEST(Limits, LetABusyConnectionLiveLongerThanTheIdleLimit) {
    const Daemon daemon{{.options = {"--idle-timeout=1s"}}};
    const Client client{daemon.address()};
    for (int i = 0; i < 12; ++i) {
        ASSERT_TRUE(client.echoes("still here"));
        std::this_thread::sleep_for(200ms);
    }
}

void expect_stalled_reader_ends(const Daemon& daemon, Client& client) {
    ASSERT_TRUE(client.echoes("hello"));
    const pid_t cell = daemon.only_cell();
    fill(client);
    const auto begun = Clock::now();
    long most = 0;
    EXPECT_TRUE(within(15s, [&] {
        most = std::max(most, resident_kib(cell));
        return !is_alive(cell);
    }));
    EXPECT_LE(since(begun), 8s);
    EXPECT_GT(most, 0);
    EXPECT_LE(most, 512) << "a cell's memory does not grow with what its client does not read";
    EXPECT_EQ(daemon.await_record("connection").at("reason"), "stalled");
}

TEST(Limits, EndATcpReaderThatStalls) {
    const Daemon daemon{{.options = {"--idle-timeout=2s"}}};
    Client client{daemon.address(), 4096};
    expect_stalled_reader_ends(daemon, client);
}

TEST(Limits, EndAUnixReaderThatStalls) {
    const TemporaryDirectory directory;
    const Daemon daemon{
        {.listen = {"unix:" + directory.file("echo.socket")}, .options = {"--idle-timeout=2s"}}};
    Client client{daemon.address()};
    expect_stalled_reader_ends(daemon, client);
}

TEST(Limits, LetASlowReaderHaveEverything) {
    const Daemon daemon{{.options = {"--idle-timeout=3s"}}};
    const Client client{daemon.address(), 4096};
    const std::string bytes = random_bytes(std::size_t{1} << 20);
    std::size_t sent = 0;
    std::string got;
    while (got.size() < bytes.size()) {
        sent += client.send_some(std::string_view{bytes}.substr(sent));
        const std::size_t piece = std::min<std::size_t>(sent - got.size(), 50000);
        got += client.receive(piece);
        std::this_thread::sleep_for(20ms);
    }
    EXPECT_TRUE(got == bytes);
}

TEST(Limits, EndAConnectionAtItsLifetimeHoweverBusy) {
    const Daemon daemon{{.options = {"--lifetime=1s"}}};
    const Client client{daemon.address()};
    const auto begun = Clock::now();
    // It may end within an exchange, by a reset.
    EXPECT_ANY_THROW(while (since(begun) < 10s) {
        (void)client.echoes("tick");
        std::this_thread::sleep_for(10ms);
    });
    EXPECT_GE(since(begun), 900ms);
    EXPECT_LE(since(begun), 4s);
    const Json end = daemon.end_of(client.name());
    EXPECT_EQ(end.at("reason"), "lifetime");
    EXPECT_EQ(end.at("signal"), SIGALRM);
    EXPECT_TRUE(end.at("exit").is_null());
}

TEST(Limits, EndAConnectionThatUsedItsCpuTime) {
    const Daemon daemon{{.options = {"--cpu-limit=1s"}}};
    const Client client{daemon.address()};
    const std::string bytes = random_bytes(std::size_t{64} << 20);
    const auto begun = Clock::now();
    EXPECT_ANY_THROW(while (since(begun) < 110s) { (void)client.exchange(bytes); });
    const Json end = daemon.end_of(client.name());
    EXPECT_EQ(end.at("reason"), "cpu");
    EXPECT_EQ(end.at("signal"), SIGXCPU);
    // The limit counts clock ticks that find the cell running, cpu_us what it really used: on a busy machine,
    // where it runs in short bursts, these are far apart.
    EXPECT_GE(end.at("cpu_us"), 500'000);
    EXPECT_LE(end.at("cpu_us"), 10'000'000);
}

TEST(Limits, LetTheNextClientWaitInTheBacklogWhenFull) {
    const Daemon daemon{{.options = {"--max-connections=2"}}};
    Client first{daemon.address()};
    const Client second{daemon.address()};
    ASSERT_TRUE(first.echoes("one"));
    ASSERT_TRUE(second.echoes("two"));
    const Client third{daemon.address()};
    third.send("three");
    EXPECT_TRUE(third.is_quiet_for(500ms));
    EXPECT_EQ(daemon.cells().size(), 2U);
    first.close();
    EXPECT_EQ(third.receive(5, 5s), "three");
    EXPECT_TRUE(second.echoes("still two"));
    EXPECT_TRUE(daemon.has_cells(2));
}

TEST(Limits, FullOnOneListenerHoldsOnAll) {
    const Daemon daemon{{.listen = {"127.0.0.1:0", "127.0.0.1:0"}, .options = {"--max-connections=1"}}};
    Client first{daemon.address(0)};
    ASSERT_TRUE(first.echoes("one"));
    const Client second{daemon.address(1)};
    second.send("two");
    EXPECT_TRUE(second.is_quiet_for(300ms));
    first.close();
    EXPECT_EQ(second.receive(3, 5s), "two");
}

TEST(Limits, ABusySocketDoesNotKeepAnotherFromBeingServed) {
    const Daemon daemon{{.listen = {"127.0.0.1:0", "127.0.0.1:0"}, .options = {"--max-connections=4"}}};
    std::atomic<bool> stop = false;
    std::vector<std::thread> busy;
    for (int i = 0; i < 12; ++i) { // three for each connection that there may be
        busy.emplace_back([&] {
            while (!stop) {
                try {
                    (void)Client{daemon.address(0)}.echoes("busy");
                } catch (const std::exception&) { // the next one may succeed
                }
            }
        });
    }
    EXPECT_TRUE(daemon.has_cells(4));
    for (int i = 0; i < 5; ++i) {
        EXPECT_NO_THROW(EXPECT_TRUE(Client{daemon.address(1)}.echoes("other", 5s)));
    }
    stop = true;
    for (std::thread& client : busy) {
        client.join();
    }
}

TEST(Limits, DoNotKeepADaemonOfOneConnectionFromItsSelfTest) {
    for (int i = 0; i < 10; ++i) {
        const TemporaryDirectory directory;
        const Daemon daemon{{.listen = {"127.0.0.1:0", "unix:" + directory.file("socket")},
                             .options = {"--max-connections=1"}}};
        EXPECT_EQ(daemon.log().find("clients that waited"), std::string::npos) << "there are none";
    }
}

TEST(Limits, AFullDaemonDoesNotSpin) {
    const Daemon daemon{{.options = {"--max-connections=1"}}};
    const Client first{daemon.address()};
    ASSERT_TRUE(first.echoes("one"));
    const Client waiting{daemon.address()};
    waiting.send("two");
    const auto ticks = [&] {
        const std::string stat = read_file(fmt::format("/proc/{}/stat", daemon.listener()));
        std::istringstream fields{stat.substr(stat.rfind(')') + 2)};
        std::string skipped;
        for (int i = 3; i < 14; ++i) {
            fields >> skipped;
        }
        long user = 0;
        long kernel = 0;
        fields >> user >> kernel;
        return user + kernel;
    };
    const long before = ticks();
    std::this_thread::sleep_for(1s);
    EXPECT_LE(ticks() - before, 5) << "in hundredths of a second of one";
}

TEST(Limits, ShowThemselvesInTheReadyRecord) {
    const Daemon daemon{
        {.options = {"--max-connections=7", "--idle-timeout=11s", "--lifetime=3m", "--cpu-limit=5s"}}};
    const Json& limits = daemon.ready().at("limits");
    EXPECT_EQ(limits.at("max_connections"), 7) << limits;
}

} // namespace
} // namespace cloister::live
