// SPDX-License-Identifier: MIT
// Several services: each has a listener of its own, and what happens to one is no other's trouble.
#include "client.h"
#include "harness.h"

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <regex>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace cloister::live {
namespace {

namespace fs = std::filesystem;

/// A daemon (services.cpp) of which each address is a service.
class Several {
  public:
    explicit Several(std::vector<std::string> addresses, std::vector<std::string> options = {})
        : daemon{Setup{.program = "cloister-services",
                       .listen = std::move(addresses),
                       .options = std::move(options),
                       .await_ready = false}} {}

    [[nodiscard]] Json ready(unsigned service, unsigned generation = 1) const {
        return daemon.await_record("ready", [&](const Json& record) {
            return record.at("service") == fmt::format("s{}", service) &&
                   record.at("generation") >= generation;
        });
    }
    [[nodiscard]] std::string address(unsigned service) const { return ready(service).at("listen").at(0); }

    Daemon daemon;
};

TEST(Services, HaveAListenerEachAndAreReadyTogether) {
    Several several{{"127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"}};
    EXPECT_EQ(several.daemon.await_record("started").at("services"), 3);
    std::vector<int> listeners;
    for (unsigned i = 0; i < 3; ++i) {
        EXPECT_TRUE(Client{several.address(i)}.echoes("hello"));
        listeners.push_back(several.ready(i).at("listener_pid"));
        EXPECT_EQ(several.ready(i).at("generation"), 1);
    }
    std::sort(listeners.begin(), listeners.end());
    EXPECT_EQ(std::unique(listeners.begin(), listeners.end()), listeners.end());
    EXPECT_EQ(several.daemon.records("ready").size(), 3U);
    several.daemon.signal(SIGTERM);
    EXPECT_EQ(several.daemon.ends_within(5s), 0);
    EXPECT_EQ(several.daemon.records("stopping").size(), 1U);
}

TEST(Services, OneThatDiesIsReplacedAndTheOthersDoNotNotice) {
    const Several several{{"127.0.0.1:0", "127.0.0.1:0"}};
    (void)several.daemon.await_record("started");
    const Client other{several.address(0)};
    ASSERT_TRUE(other.echoes("before"));
    const pid_t listener = several.ready(0).at("listener_pid");
    ASSERT_EQ(::kill(several.ready(1).at("listener_pid").get<pid_t>(), SIGKILL), 0);
    EXPECT_EQ(several.daemon.await_record("listener_died").at("service"), "s1");
    EXPECT_EQ(several.ready(1, 2).at("generation"), 2);
    EXPECT_TRUE(Client{several.address(1)}.echoes("again"));
    EXPECT_TRUE(other.echoes("after"));
    EXPECT_TRUE(is_alive(listener));
}

TEST(Services, OneThatFailsAgainAndAgainIsTriedAgainWhileAnotherServes) {
    const Several several{{"127.0.0.1:0", "127.0.0.1:0"}};
    (void)several.daemon.await_record("started");
    const Client other{several.address(0)};
    for (unsigned generation = 1; generation <= 7; ++generation) {
        ASSERT_EQ(::kill(several.ready(1, generation).at("listener_pid").get<pid_t>(), SIGSEGV), 0);
        ASSERT_TRUE(within(5s, [&] { return several.daemon.records("listener_died").size() == generation; }));
        ASSERT_TRUE(other.echoes("still here"));
    }
    const Json down = several.daemon.await_record("service_down");
    EXPECT_EQ(down.at("service"), "s1");
    EXPECT_EQ(down.at("failures"), 7);
    EXPECT_TRUE(Client{several.address(1)}.echoes("back", 10s)) << "its clients have waited in the backlog";
    EXPECT_EQ(several.ready(1, 8).at("generation"), 8);
}

TEST(Services, DrainTogetherAndEachInItsTime) {
    Several several{{"127.0.0.1:0", "127.0.0.1:0"}, {"--drain-timeout=1s"}};
    (void)several.daemon.await_record("started");
    const Client client{several.address(1)};
    ASSERT_TRUE(client.echoes("hello"));
    several.daemon.signal(SIGTERM);
    (void)several.daemon.await_record("stopping");
    EXPECT_TRUE(client.echoes("in the drain"));
    EXPECT_EQ(several.daemon.ends_within(5s), 0);
    EXPECT_TRUE(client.ends_within(1s));
}

TEST(Services, AnAddressInUseEndsTheStartAndLeavesNoPath) {
    const TemporaryDirectory directory;
    const Daemon taken;
    Several several{{"unix:" + directory.file("first"), taken.address()}};
    EXPECT_EQ(several.daemon.ends_within(5s), 69) << several.daemon.log();
    EXPECT_FALSE(fs::exists(directory.file("first")));
}

class HangingStart : public testing::TestWithParam<const char*> {};

TEST_P(HangingStart, DelaysNoOtherService) {
    const TemporaryDirectory directory;
    fs::create_directory(directory.file("hostile"));
    fs::permissions(directory.file("hostile"), fs::perms{0755});
    Several several{{"unix:" + directory.file("hostile/") + GetParam(), "127.0.0.1:0"}};
    EXPECT_TRUE(Client{several.address(1)}.echoes("hello"));
    EXPECT_TRUE(several.daemon.records("started").empty()) << "the other one is not ready";
    several.daemon.signal(SIGTERM);
    EXPECT_EQ(several.daemon.ends_within(5s), 0) << several.daemon.log();
}

INSTANTIATE_TEST_SUITE_P(Misbehaviour, HangingStart,
                         testing::Values("is-silent", "stops", "says-hello-and-is-silent",
                                         "is-armed-and-silent"),
                         [](const auto& instance) {
                             return std::regex_replace(instance.param, std::regex{"-"}, "");
                         });

/// What tells the start listener that a later generation misbehaves (tests/hostile/listener.cpp).
Fd misbehave_from_now_on(pid_t supervisor) {
    const std::string name = fmt::format("cloister-later-{}", supervisor);
    sockaddr_un address{AF_UNIX, {}};
    name.copy(&address.sun_path[1], name.size());
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
    Fd listening{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    EXPECT_EQ(::bind(listening.get(), reinterpret_cast<const sockaddr*>(&address), length), 0);
    EXPECT_EQ(::listen(listening.get(), SOMAXCONN), 0);
    return listening;
}

class BadReplacement : public testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(BadReplacement, ConcernsItsOwnServiceOnlyAndTheLogSaysWhy) {
    const auto& [misbehaviour, said] = GetParam();
    const TemporaryDirectory directory;
    fs::create_directory(directory.file("hostile"));
    fs::permissions(directory.file("hostile"), fs::perms{0755});
    const Several several{{"127.0.0.1:0", "unix:" + directory.file("hostile/later-") + misbehaviour}};
    (void)several.daemon.await_record("started");
    const Fd marker = misbehave_from_now_on(several.daemon.pid());
    const pid_t listener = several.ready(0).at("listener_pid");
    const Client client{several.address(0)};
    ASSERT_TRUE(client.echoes("before"));
    ASSERT_EQ(::kill(several.ready(1).at("listener_pid").get<pid_t>(), SIGKILL), 0);
    const bool may_pass = misbehaviour == std::string{"closes-its-socket"}; // or somebody has killed it
    const Json failed = several.daemon.await_record(may_pass ? "service_waiting" : "listener_failed");
    EXPECT_EQ(failed.at("service"), "s1");
    EXPECT_TRUE(std::regex_search(failed.at("message").get<std::string>(), std::regex{said})) << failed;
    (void)several.daemon.await_record( // after six more
        may_pass ? "service_waiting" : "service_down",
        [](const Json& record) { return record.at("failures") > 6; }, 15s);
    EXPECT_TRUE(client.echoes("after"));
    EXPECT_TRUE(Client{several.address(0)}.echoes("another"));
    EXPECT_TRUE(is_alive(listener));
    for (const Json& record : several.daemon.records("listener_failed")) {
        EXPECT_EQ(record.at("service"), "s1");
    }
}

INSTANTIATE_TEST_SUITE_P(
    Misbehaviour, BadReplacement,
    testing::Values(std::pair{"crashes", "ended with signal 6 while it started"},
                    std::pair{"ends-with-77", "could not confine itself: exit code 77"},
                    std::pair{"leaves-a-child-behind", "could not confine itself: exit code 77"},
                    std::pair{"closes-its-socket", "was killed, or had closed its socket"},
                    std::pair{"sends-nonsense", "sent what it should not"},
                    std::pair{"sends-too-much", "sent what it should not"},
                    std::pair{"is-armed-twice", "sent what it should not"},
                    std::pair{"floods", "sent what it should not"}),
    [](const auto& instance) { return std::regex_replace(instance.param.first, std::regex{"-"}, ""); });

} // namespace
} // namespace cloister::live
