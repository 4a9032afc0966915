// SPDX-License-Identifier: MIT
// What a client gets: its bytes, all of them, in order, over every kind of listener.
#include "client.h"
#include "control/launch.h"
#include "harness.h"

#include <arpa/inet.h>
#include <csignal>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

namespace cloister::live {
namespace {

bool ipv6_is_off() {
    return read_file("/proc/net/if_inet6").empty();
}

std::string port_of(const std::string& address) {
    return address.substr(address.rfind(':'));
}

TEST(Echo, AnswersOverIpv4) {
    const Daemon daemon;
    EXPECT_TRUE(Client{daemon.address()}.echoes("hello\n"));
}

TEST(Echo, AnswersOverIpv6) {
    if (ipv6_is_off()) {
        GTEST_SKIP() << "this machine has no IPv6";
    }
    const Daemon daemon{{.listen = {"[::1]:0"}}};
    EXPECT_TRUE(Client{daemon.address()}.echoes("hello\n"));
}

TEST(Echo, AnswersBothFamiliesOnADualStackListener) {
    if (ipv6_is_off()) {
        GTEST_SKIP() << "this machine has no IPv6";
    }
    const Daemon daemon{{.listen = {"[::]:0"}}};
    const std::string port = port_of(daemon.address());
    EXPECT_TRUE(Client{"127.0.0.1" + port}.echoes("four"));
    EXPECT_TRUE(Client{"[::1]" + port}.echoes("six"));
}

TEST(Echo, AnswersOnAUnixSocket) {
    const TemporaryDirectory directory;
    const std::string address = "unix:" + directory.file("echo.socket");
    const Daemon daemon{{.listen = {address}}};
    EXPECT_EQ(daemon.address(), address);
    EXPECT_TRUE(Client{address}.echoes("hello\n"));
}

TEST(Echo, AnswersOnSeveralListenersAtOnce) {
    const TemporaryDirectory directory;
    const Daemon daemon{{.listen = {"127.0.0.1:0", "127.0.0.2:0", "unix:" + directory.file("echo.socket")}}};
    ASSERT_EQ(daemon.ready().at("listen").size(), 3U);
    const Client first{daemon.address(0)};
    const Client second{daemon.address(1)};
    const Client third{daemon.address(2)};
    EXPECT_TRUE(third.echoes("three"));
    EXPECT_TRUE(first.echoes("one"));
    EXPECT_TRUE(second.echoes("two"));
    EXPECT_TRUE(daemon.has_cells(3));
}

TEST(Echo, AnswersOnAsManyListenersAsThereMayBe) {
    const Daemon daemon{{.listen = std::vector<std::string>(control::max_listening_sockets, "127.0.0.1:0")}};
    ASSERT_EQ(daemon.ready().at("listen").size(), control::max_listening_sockets);
    EXPECT_TRUE(Client{daemon.address(0)}.echoes("first"));
    EXPECT_TRUE(Client{daemon.address(control::max_listening_sockets - 1)}.echoes("last"));
}

TEST(Echo, ReplacesAStaleUnixSocketAndLeavesALiveOneAlone) {
    const TemporaryDirectory directory;
    const std::string path = directory.file("echo.socket");
    { // bound once, by somebody who is gone
        const Fd stale{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
        sockaddr_un name{};
        name.sun_family = AF_UNIX;
        path.copy(name.sun_path, sizeof name.sun_path - 1);
        ASSERT_EQ(::bind(stale.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name), 0);
        ASSERT_EQ(::listen(stale.get(), 1), 0);
    }
    const Daemon daemon{{.listen = {"unix:" + path}}};
    EXPECT_TRUE(Client{daemon.address()}.echoes("hello\n"));

    auto second = user_options();
    second.push_back("--listen=unix:" + path);
    const Outcome refused = run_cloisterd(second);
    EXPECT_EQ(refused.exit_code, 69);
    EXPECT_NE(refused.err.find("the socket there is in use"), std::string::npos) << refused.err;
    EXPECT_TRUE(Client{daemon.address()}.echoes("still here"));
}

TEST(Echo, SaysWhichPortItWasGivenForPortZero) {
    const Daemon daemon;
    const std::string address = daemon.address();
    EXPECT_TRUE(address.starts_with("127.0.0.1:")) << address;
    EXPECT_NE(port_of(address), ":0");
    EXPECT_EQ(daemon.ready().at("pid"), daemon.pid());
}

/// A listening socket as a service manager holds it.
struct PassedSocket {
    Fd fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    std::string address;

    PassedSocket() {
        sockaddr_in name{};
        name.sin_family = AF_INET;
        name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t length = sizeof name;
        EXPECT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&name), length), 0);
        EXPECT_EQ(::listen(fd.get(), 16), 0);
        EXPECT_EQ(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&name), &length), 0);
        address = fmt::format("127.0.0.1:{}", ntohs(name.sin_port));
    }
};

TEST(Activation, ServesTheBacklogOfThePassedSocket) {
    const PassedSocket passed;
    // It connected before there was a daemon: the service manager's backlog held it.
    const Client early{passed.address};
    const Daemon daemon{{.passed = {passed.fd.get()}}};
    ASSERT_EQ(daemon.ready().at("listen").size(), 1U);
    EXPECT_EQ(daemon.address(), passed.address);
    EXPECT_TRUE(early.echoes("early"));
    EXPECT_TRUE(Client{passed.address}.echoes("hello\n"));
}

// The self-test of such a daemon stands behind the waiting clients, of which there are more than it may
// serve.
TEST(Activation, BecomesReadyThoughMoreClientsWaitThanItMayServe) {
    const PassedSocket passed;
    const Client first{passed.address};
    const Client second{passed.address};
    const Daemon daemon{{.options = {"--max-connections=1"}, .passed = {passed.fd.get()}}};
    EXPECT_TRUE(first.echoes("first"));
}

// All processes at once, as a container's end or a lack of memory does it: the backlog is the service
// manager's.
TEST(Activation, KilledAltogetherItRefusesNobodyAndServesAgain) {
    const PassedSocket passed;
    std::vector<Client> waiting;
    {
        Daemon daemon{{.passed = {passed.fd.get()}}};
        const Client client{passed.address};
        ASSERT_TRUE(client.echoes("before"));
        std::vector<pid_t> all = daemon.cells();
        all.insert(all.end(), {daemon.listener(), daemon.relay(), daemon.pid()});
        for (const pid_t pid : all) {
            (void)::kill(pid, SIGKILL);
        }
        EXPECT_EQ(daemon.ends_within(5s), -SIGKILL);
        EXPECT_TRUE(client.ends_within(5s));
        for (int i = 0; i < 5; ++i) {
            waiting.emplace_back(passed.address); // or it throws
        }
    }
    const Daemon again{{.passed = {passed.fd.get()}}};
    for (const Client& client : waiting) {
        EXPECT_TRUE(client.echoes("after"));
    }
}

TEST(Activation, HearsTermWhileItBecomesReady) {
    const PassedSocket passed;
    const Client first{passed.address};
    const Client second{passed.address};
    Daemon daemon{{.options = {"--max-connections=1", "--drain-timeout=1s"},
                   .passed = {passed.fd.get()},
                   .await_ready = false}};
    ASSERT_TRUE(first.echoes("first"));
    daemon.signal(SIGTERM);
    EXPECT_EQ(daemon.ends_within(4s), 0);
}

TEST(Activation, RefusesAPassedSocketThatDoesNotListen) {
    const Fd passed{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    Daemon daemon{{.passed = {passed.get()}, .await_ready = false}};
    EXPECT_EQ(daemon.ends_within(10s), 78) << daemon.log();
    EXPECT_NE(daemon.log().find("of LISTEN_FDS does not listen"), std::string::npos) << daemon.log();
    EXPECT_EQ(daemon.records("ready").size(), 0U);
}

TEST(Echo, StartsWithoutStandardDescriptors) {
    const TemporaryDirectory directory;
    const std::string address = "unix:" + directory.file("echo.socket");
    const Daemon daemon{{.listen = {address}, .standard_descriptors = false}};
    ASSERT_TRUE(within(10s, [&] { return !refuses(address); }));
    EXPECT_TRUE(Client{address}.echoes("hello\n"));
}

TEST(Echo, Returns64MiBOfRandomBytesUnchanged) {
    const Daemon daemon;
    const Client client{daemon.address()};
    const std::string bytes = random_bytes(std::size_t{64} << 20);
    EXPECT_TRUE(client.exchange(bytes) == bytes);
    client.half_close();
    EXPECT_EQ(client.receive_to_end(), "");
    EXPECT_EQ(daemon.end_of(client.name()).at("reason"), "closed");
}

TEST(Echo, ReturnsEveryByteValueOverAUnixSocket) {
    const TemporaryDirectory directory;
    const Daemon daemon{{.listen = {"unix:" + directory.file("echo.socket")}}};
    const Client client{daemon.address()};
    const std::string bytes = random_bytes(std::size_t{8} << 20, 7);
    EXPECT_TRUE(client.exchange(bytes) == bytes);
}

TEST(Echo, AnswersWritesOfOneByte) {
    const Daemon daemon;
    const Client client{daemon.address()};
    const std::string bytes = random_bytes(2000);
    for (const char byte : bytes) {
        ASSERT_TRUE(client.echoes({&byte, 1}));
    }
}

TEST(Echo, AnswersSizesAroundItsBuffer) {
    const Daemon daemon;
    const Client client{daemon.address()};
    for (const std::size_t length : {1U, 4095U, 4096U, 65535U, 65536U, 65537U, 131071U, 131072U, 131073U}) {
        const std::string bytes = random_bytes(length, static_cast<unsigned>(length));
        EXPECT_TRUE(client.exchange(bytes) == bytes) << length;
    }
}

TEST(Echo, SendsEverythingThatWasInFlightAtAHalfCloseAndThenTheEnd) {
    const Daemon daemon;
    // A small window holds most of it up in the daemon's and our own buffers when the FIN is sent.
    const Client client{daemon.address(), 4096};
    const std::string bytes = random_bytes(std::size_t{4} << 20);
    std::size_t sent = 0;
    while (const std::size_t n = client.send_some(std::string_view{bytes}.substr(sent, 65536))) {
        sent += n;
    }
    client.half_close();
    ASSERT_GT(sent, 65536U);
    EXPECT_TRUE(client.receive_to_end() == std::string_view{bytes}.substr(0, sent));
    const Json end = daemon.end_of(client.name());
    EXPECT_EQ(end.at("reason"), "closed");
    EXPECT_EQ(end.at("exit"), 0);
}

TEST(Echo, EndsAConnectionThatSaysNothingAndCloses) {
    const Daemon daemon;
    Client silent{daemon.address()};
    const std::string name = silent.name();
    silent.half_close();
    EXPECT_EQ(silent.receive_to_end(), "");
    EXPECT_EQ(daemon.end_of(name).at("reason"), "probe");

    Client gone{daemon.address()};
    const std::string gone_name = gone.name();
    gone.close();
    EXPECT_EQ(daemon.end_of(gone_name).at("reason"), "probe");
    EXPECT_TRUE(daemon.has_cells(0));
}

TEST(Echo, DoesNotMixClients) {
    const Daemon daemon;
    std::vector<Client> clients;
    for (int i = 0; i < 50; ++i) {
        clients.emplace_back(daemon.address());
        clients.back().send(fmt::format("client {:02}", i));
    }
    for (int i = 0; i < 50; ++i) {
        EXPECT_EQ(clients[static_cast<std::size_t>(i)].receive(9), fmt::format("client {:02}", i));
    }
    EXPECT_TRUE(daemon.has_cells(50));
}

/// vm.memfd_noexec belongs to a pid namespace: with 2 no memory file can be executed, and each has one seal
/// more.
TEST(HardenedHost, ThatForbidsExecutableMemoryFilesIsServed) {
    if (!am_root()) {
        GTEST_SKIP() << "only root may make a pid namespace and set its sysctl";
    }
    if (!is_installed("bash")) {
        GTEST_SKIP() << "there is no bash";
    }
    constexpr const char* script = R"(
        echo 2 2>/dev/null >/proc/sys/vm/memfd_noexec || exit 99
        coproc daemon { exec "$@" 2>&1; }
        pid=$daemon_PID
        read -r line <&"${daemon[0]}"
        echo "$line"
        kill "$pid"
        wait "$pid")";
    std::vector<std::string> command{"/usr/bin/unshare",
                                     "--pid",
                                     "--fork",
                                     "--mount-proc",
                                     "/bin/bash",
                                     "-c",
                                     script,
                                     "bash",
                                     program_path("cloisterd"),
                                     "--listen=127.0.0.1:0"};
    for (const std::string& word : user_options()) {
        command.push_back(word);
    }
    const Outcome outcome = run_program(command);
    if (outcome.exit_code == 99) {
        GTEST_SKIP() << "this kernel has no vm.memfd_noexec (since Linux 6.3)";
    }
    EXPECT_EQ(outcome.exit_code, 0) << outcome.out << outcome.err;
    EXPECT_NE(outcome.out.find("\"event\":\"ready\""), std::string::npos) << outcome.out;
}

} // namespace
} // namespace cloister::live
