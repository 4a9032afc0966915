// SPDX-License-Identifier: MIT
// What the clients of a unix socket pass along, and what the daemon must not close itself.
#include "client.h"
#include "harness.h"
#include "lingering.h"

#include <csignal>
#include <gtest/gtest.h>

namespace cloister::live {
namespace {

constexpr unsigned burst = 64;

bool kernel_has_passrights() {
    const Fd fd{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    constexpr int no = 0;
    return ::setsockopt(fd.get(), SOL_SOCKET, so_passrights, &no, sizeof no) == 0;
}

/// With a kernel that can refuse descriptors, if this one can, and with one that can't.
class PassedDescriptors : public testing::TestWithParam<bool> {
  protected:
    void SetUp() override {
        if (GetParam() && !kernel_has_passrights()) {
            GTEST_SKIP() << "this kernel has no SO_PASSRIGHTS (Linux 6.16)";
        }
    }
    [[nodiscard]] static std::vector<Fault> faults() {
        return GetParam() ? std::vector<Fault>{} : without_passrights;
    }
    TemporaryDirectory directory_;
    std::string path_ = directory_.file("socket");
    LingeringClients lingering_;
};

INSTANTIATE_TEST_SUITE_P(Kernel, PassedDescriptors, testing::Bool(), [](const auto& instance) {
    return instance.param ? "ThatRefusesThem" : "ThatCannotRefuseThem";
});

TEST_P(PassedDescriptors, OfClientsWhoWaitedDelayNobody) {
    const PassedUnixSocket socket{path_};
    for (unsigned i = 0; i < burst; ++i) {
        ASSERT_TRUE(lingering_.come(path_));
    }
    Daemon daemon{{.listen = {}, .passed = {socket.fd.get()}, .faults = faults()}};
    for (int i = 0; i < 20; ++i) {
        EXPECT_TRUE(Client{"unix:" + path_}.echoes("hello\n", 5s));
    }
    daemon.signal(SIGTERM);
    EXPECT_EQ(daemon.ends_within(10s), 0);
}

TEST_P(PassedDescriptors, OfClientsWhoComeLaterDelayNobody) {
    Daemon daemon{{.listen = {"unix:" + path_ + ",mode=0666", "127.0.0.1:0"}, .faults = faults()}};
    for (int round = 0; round < 4; ++round) {
        daemon.signal_listener(SIGSTOP); // they wait together
        for (unsigned i = 0; i < burst; ++i) {
            EXPECT_EQ(lingering_.come(path_), !GetParam());
        }
        daemon.signal_listener(SIGCONT);
        EXPECT_TRUE(Client{"unix:" + path_}.echoes("hello\n", 5s));
        EXPECT_TRUE(Client{daemon.address(1)}.echoes("hello\n", 5s));
    }
    daemon.signal(SIGTERM);
    EXPECT_EQ(daemon.ends_within(10s), 0);
}

/// Nobody accepts them: the socket is closed with them in its queue.
TEST_P(PassedDescriptors, OfClientsWhoWaitDoNotDelayTheStopOfAFullDaemon) {
    PassedUnixSocket socket{path_};
    Daemon daemon{{.listen = {},
                   .options = {"--max-connections=1", "--drain-timeout=1s"},
                   .passed = {socket.fd.get()},
                   .faults = faults()}};
    const Client only{"unix:" + path_};
    EXPECT_TRUE(only.echoes("hello\n"));
    socket.close(); // the daemon's is the last one
    for (unsigned i = 0; i < burst; ++i) {
        EXPECT_EQ(lingering_.come(path_), !GetParam());
    }
    daemon.signal(SIGTERM);
    EXPECT_EQ(daemon.ends_within(10s), 0);
    EXPECT_TRUE(daemon.leaves_nobody_within(2s));
}

TEST_P(PassedDescriptors, OfClientsWhoWaitDoNotDelayAStartThatFails) {
    PassedUnixSocket socket{path_};
    for (unsigned i = 0; i < burst; ++i) {
        ASSERT_TRUE(lingering_.come(path_));
    }
    Daemon daemon{{.options = {"--listen=192.0.2.1:7"}, // no interface has this address
                   .passed = {socket.fd.get()},
                   .await_ready = false,
                   .faults = faults()}};
    socket.close(); // the daemon's is the last one
    EXPECT_EQ(daemon.ends_within(10s), 69) << daemon.log();
}

TEST_P(PassedDescriptors, DoNotKeepTheListenersReplacementWaiting) {
    const PassedUnixSocket socket{path_};
    Daemon daemon{{.listen = {}, .passed = {socket.fd.get()}, .faults = faults()}};
    daemon.signal_listener(SIGSTOP);
    for (unsigned i = 0; i < burst; ++i) {
        EXPECT_EQ(lingering_.come(path_), !GetParam());
    }
    daemon.signal_listener(SIGKILL);
    EXPECT_TRUE(Client{"unix:" + path_}.echoes("hello\n", 10s));
}

TEST(PassedSocketThatLingers, ThoughTheKernelSaysThatItDoesNotAnyMoreIs70) {
    const Fd listening{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    const linger long_one{1, linger_seconds};
    ASSERT_EQ(::setsockopt(listening.get(), SOL_SOCKET, SO_LINGER, &long_one, sizeof long_one), 0);
    ASSERT_EQ(::listen(listening.get(), 100), 0); // at a free port of all interfaces
    Daemon daemon{{.passed = {listening.get()},
                   .await_ready = false,
                   .faults = {{"LingerFaked", SYS_setsockopt, 2, SO_LINGER, faked, 70, ""}}}};
    EXPECT_EQ(daemon.ends_within(10s), 70) << daemon.log();
    EXPECT_NE(daemon.log().find("SO_LINGER was set to 0 and reads back as 1"), std::string::npos)
        << daemon.log();
}

} // namespace
} // namespace cloister::live
