// SPDX-License-Identifier: MIT
// A public socket that can't be reached from where the supervisor stands is a warning, and service goes on.
#include "client.h"
#include "harness.h"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <thread>

namespace cloister::live {
namespace {

namespace fs = std::filesystem;

Fd listen_at(const std::string& path) {
    Fd fd{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(fd.get(), 5), 0);
    fs::permissions(path, fs::perms{0777});
    return fd;
}

bool has_a_client(const Fd& listening, std::chrono::milliseconds limit) {
    pollfd polled{listening.get(), POLLIN, 0};
    return ::poll(&polled, 1, static_cast<int>(limit.count())) == 1;
}

TEST(Unreachable, APathThatSomebodyRemovedIsAWarning) {
    const TemporaryDirectory directory;
    const std::string path = directory.file("socket");
    const Fd listening = listen_at(path);
    fs::remove(path);
    const Daemon daemon{{.passed = {listening.get()}}};
    const Json warning = daemon.await_record("socket_unreachable");
    EXPECT_EQ(warning.at("level"), "warning");
    EXPECT_EQ(warning.at("socket"), "unix:" + path);
    EXPECT_NE(warning.at("message").get<std::string>().find("ENOENT"), std::string::npos) << warning;
    EXPECT_NE(warning.at("message").get<std::string>().find("restart"), std::string::npos) << warning;
}

TEST(Unreachable, ADirectoryThatKeepsTheSupervisorsUserOutIsAWarning) {
    if (!am_root()) {
        GTEST_SKIP() << "an ordinary user can't bind where it can't go";
    }
    const TemporaryDirectory directory;
    const std::string closed = directory.file("closed");
    fs::create_directory(closed);
    fs::permissions(closed, fs::perms{0700});
    const std::string address = "unix:" + closed + "/socket";
    const Daemon daemon{{.listen = {address, "127.0.0.1:0"}}};
    const Json warning = daemon.await_record("socket_unreachable");
    EXPECT_EQ(warning.at("socket"), address);
    EXPECT_NE(warning.at("message").get<std::string>().find("EACCES"), std::string::npos) << warning;
    EXPECT_EQ(daemon.records("socket_unreachable").size(), 1U) << "the other one can be reached";
    EXPECT_TRUE(Client{address}.echoes("root may go there"));
    EXPECT_TRUE(Client{daemon.address(1)}.echoes("hello"));
}

TEST(Unreachable, ASocketOfAnotherNetworkNamespaceIsAWarningAndNobodyElseIsAsked) {
    if (!am_root()) {
        GTEST_SKIP() << "only root makes network namespaces";
    }
    sockaddr_in address{AF_INET, 0, {htonl(INADDR_ANY)}, {}};
    socklen_t length = sizeof address;
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    Fd there;
    bool made = false;
    std::thread{[&] {
        made = ::unshare(CLONE_NEWNET) == 0; // of this thread only
        there.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        made = made && ::bind(there.get(), generic, length) == 0 && ::listen(there.get(), 5) == 0 &&
               ::getsockname(there.get(), generic, &length) == 0;
    }}.join();
    if (!made) {
        GTEST_SKIP() << "no network namespace: " << std::strerror(errno);
    }
    const Fd here{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)}; // the same port, somebody else's
    ASSERT_EQ(::bind(here.get(), generic, length), 0);
    ASSERT_EQ(::listen(here.get(), 5), 0);
    const Daemon daemon{{.passed = {there.get()}}};
    const Json warning = daemon.await_record("socket_unreachable");
    EXPECT_NE(warning.at("message").get<std::string>().find("another network namespace"), std::string::npos)
        << warning;
    EXPECT_FALSE(has_a_client(here, 100ms));
}

TEST(Unreachable, APassedSocketThatOnlyAnotherUserMayUseIsAWarning) {
    const TemporaryDirectory directory;
    const std::string path = directory.file("socket");
    const Fd listening = listen_at(path);
    fs::permissions(path, am_root() ? fs::perms{0600} : fs::perms{0});
    const Daemon daemon{{.passed = {listening.get()}}};
    const Json warning = daemon.await_record("socket_unreachable");
    EXPECT_EQ(warning.at("socket"), "unix:" + path);
    EXPECT_NE(warning.at("message").get<std::string>().find("EACCES"), std::string::npos) << warning;
    if (am_root()) {
        EXPECT_TRUE(Client{"unix:" + path}.echoes("root may"));
    }
}

TEST(Unreachable, AnyIpv6AddressWhereIpv6IsOffIsAWarning) {
    if (!am_root() || !is_installed("ip")) {
        GTEST_SKIP() << "only root makes network namespaces, and ip brings lo up";
    }
    const Daemon daemon{
        {.listen = {"[::]:0", "127.0.0.1:0"},
         .through = {"/usr/bin/unshare", "--net", "/bin/sh", "-c",
                     "ip link set lo up && echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6 && "
                     "exec \"$@\"",
                     "sh"}}};
    const Json warning = daemon.await_record("socket_unreachable");
    EXPECT_EQ(warning.at("socket"), daemon.address(0));
    EXPECT_TRUE(daemon.address(0).starts_with("[::]:")) << daemon.address(0);
    EXPECT_EQ(daemon.records("socket_unreachable").size(), 1U) << daemon.log();
}

TEST(Unreachable, ASocketWithWaitingClientsIsNoTrouble) {
    const TemporaryDirectory directory;
    const std::string path = directory.file("socket");
    const Fd listening = listen_at(path);
    const Client first{"unix:" + path};
    Client second{"unix:" + path};
    Daemon daemon{{.options = {"--max-connections=1"}, .passed = {listening.get()}}};
    EXPECT_TRUE(first.echoes("hello"));
    const Json busy = daemon.await_record("socket_busy");
    EXPECT_EQ(busy.at("level"), "info");
    EXPECT_EQ(busy.at("socket"), "unix:" + path);
    (void)daemon.await_record("started");
    daemon.signal(SIGTERM); // our client, which still waits there, is refused then
    (void)daemon.await_record("stopping");
    EXPECT_TRUE(first.echoes("in the drain"));
    first.half_close();
    second.close(); // the listener may have taken it before the order to drain came
    EXPECT_EQ(daemon.ends_within(5s), 0) << daemon.log();
}

TEST(WrongAnswer, OfAPublicSocketFailsTheFirstStart) {
    const TemporaryDirectory directory;
    const std::string path = directory.file("socket");
    const Fd listening = listen_at(path);
    fs::remove(path);
    const Fd another = listen_at(path); // has its path, and no cell behind it
    std::thread answers{[&] {
        if (has_a_client(another, 10s)) {
            const Fd client{::accept4(another.get(), nullptr, nullptr, SOCK_CLOEXEC)};
            EXPECT_EQ(::send(client.get(), "what?", 5, MSG_NOSIGNAL), 5);
        }
    }};
    Daemon daemon{{.passed = {listening.get()}, .await_ready = false}};
    EXPECT_EQ(daemon.ends_within(5s), 70) << daemon.log();
    answers.join();
    EXPECT_NE(daemon.log().find("self-test: unix:" + path + " answers, but not as it should"),
              std::string::npos)
        << daemon.log();
    EXPECT_TRUE(daemon.records("ready").empty());
}

// Nothing of that is asked of a replacement: what was reached once is the same socket still.
TEST(Unreachable, APathThatGoesLaterDoesNotMatterToAReplacement) {
    const TemporaryDirectory directory;
    const std::string path = directory.file("socket");
    const Daemon daemon{{.listen = {"unix:" + path, "127.0.0.1:0"}}};
    fs::remove(path);
    daemon.signal_listener(SIGKILL);
    EXPECT_EQ(daemon.await_record("ready", [](const Json& record) { return record.at("generation") == 2; })
                  .at("pid"),
              daemon.pid());
    EXPECT_TRUE(Client{daemon.address(1)}.echoes("hello"));
    EXPECT_TRUE(daemon.records("socket_unreachable").empty());
}

} // namespace
} // namespace cloister::live
