// SPDX-License-Identifier: MIT
#include "supervisor/sockets.h"

#include "child.h"

#include <algorithm>
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <map>
#include <netinet/in.h>
#include <sys/un.h>

namespace cloister::supervisor {
namespace {

using ::testing::MatchesRegex;
using ::testing::StartsWith;

struct Passed {
    int family = AF_INET;
    int type = SOCK_STREAM;
    bool listens = true;
    int protocol = 0;
};

constexpr const char* me = "me";

/// What a service manager would do, in the child: opens `sockets` as 3, 4 …, sets the variables (`me` is the
/// child's own number) and starts. Returns the names of the listeners, or `CODE message`.
std::string activated(const std::vector<Passed>& sockets, std::map<std::string, std::string> variables,
                      const std::vector<std::string>& listen = {}) {
    return test::in_child([&]() -> std::string {
        ::closefrom(101);
        int next = 3;
        for (const auto& passed : sockets) {
            const int made = ::socket(passed.family, passed.type, passed.protocol);
            if (made < 0) {
                return "no such socket here";
            }
            if (passed.listens) {
                sockaddr_in6 address{}; // all zero but the family: any address, any port, or autobind
                address.sin6_family = static_cast<sa_family_t>(passed.family);
                const socklen_t length = passed.family == AF_INET    ? sizeof(sockaddr_in)
                                         : passed.family == AF_INET6 ? sizeof(sockaddr_in6)
                                                                     : sizeof(sa_family_t);
                if (::bind(made, reinterpret_cast<sockaddr*>(&address), length) != 0 ||
                    ::listen(made, 5) != 0) {
                    return "the test's own bind failed";
                }
            }
            ::dup2(made, next);
            if (made != next) {
                ::close(made);
            }
            ++next;
        }
        for (int fd = next; fd < 100; ++fd) {
            ::close(fd);
        }
        variables.try_emplace("LISTEN_PID", me);
        for (const auto& [name, value] : variables) {
            ::setenv(name.c_str(), (value == me ? fmt::format("{}", ::getpid()) : value).c_str(), 1);
        }
        config::Service options;
        options.listen_given = !listen.empty();
        for (const auto& text : listen.empty() ? std::vector<std::string>{"127.0.0.1:0"} : listen) {
            options.listen.push_back(config::parse_address(text).value());
        }
        auto activation = take_activation();
        for (const auto* name : {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"}) {
            if (::getenv(name) != nullptr) {
                return fmt::format("{} is still set", name);
            }
        }
        if (!activation) {
            return fmt::format("{} {}", static_cast<int>(activation.error().code),
                               activation.error().message);
        }
        const auto listeners = open_sockets(options, {}, std::move(*activation));
        if (!listeners) {
            return fmt::format("{} {}", static_cast<int>(listeners.error().code), listeners.error().message);
        }
        std::string names;
        for (const auto& listener : *listeners) {
            const bool ready = (::fcntl(listener.fd.get(), F_GETFL) & O_NONBLOCK) != 0 &&
                               (::fcntl(listener.fd.get(), F_GETFD) & FD_CLOEXEC) != 0;
            names += fmt::format("{}{}{}{};", listener.activated ? "passed " : "bound ",
                                 listener.is_unix ? "unix " : "", ready ? "" : "BLOCKING OR INHERITED ",
                                 listener.name);
        }
        return names;
    });
}

TEST(Activation, TakesThePassedSocketsInPlaceOfTheDefault) {
    EXPECT_THAT(
        activated({{AF_INET}, {AF_INET6}, {AF_UNIX}},
                  {{"LISTEN_FDS", "3"}, {"LISTEN_FDNAMES", "a:b:c"}, {"LISTEN_PIDFDID", "1"}}),
        MatchesRegex("passed 0\\.0\\.0\\.0:[0-9]+;passed \\[::\\]:[0-9]+;passed unix unix:@[0-9a-f]+;"));
}

TEST(Activation, NeedsNoNames) {
    EXPECT_THAT(activated({{}}, {{"LISTEN_FDS", "1"}}), StartsWith("passed 0.0.0.0:"));
}

TEST(Activation, AddsToAddressesThatWereGiven) {
    EXPECT_THAT(activated({{}}, {{"LISTEN_FDS", "1"}}, {"127.0.0.1:0"}),
                MatchesRegex("passed 0\\.0\\.0\\.0:[0-9]+;bound 127\\.0\\.0\\.1:[0-9]+;"));
}

TEST(Activation, IgnoresWhatIsMeantForAnotherProcess) {
    EXPECT_THAT(activated({{}}, {{"LISTEN_FDS", "1"}, {"LISTEN_PID", "1"}}), StartsWith("bound 127.0.0.1:"));
    EXPECT_THAT(activated({}, {}), StartsWith("bound 127.0.0.1:")); // no LISTEN_FDS
}

TEST(Activation, RefusesVariablesThatMakeNoSense) {
    const auto fds = [](const std::string& value) {
        return fmt::format("78 LISTEN_FDS='{}' is not a number of sockets; 1 to 256 can be served", value);
    };
    for (const auto* value : {"0", "-1", "999", "257", "", "two", "1x", " 1", "99999999999999999999"}) {
        EXPECT_EQ(activated({{}}, {{"LISTEN_FDS", value}}), fds(value));
    }
    for (const auto* value : {"0", "-5", "", "mine", "12 "}) {
        EXPECT_EQ(activated({{}}, {{"LISTEN_FDS", "1"}, {"LISTEN_PID", value}}),
                  fmt::format("78 LISTEN_PID='{}' is not a process number", value));
    }
    EXPECT_EQ(activated({{}}, {{"LISTEN_FDS", "1"}, {"LISTEN_FDNAMES", "a:b"}}),
              "78 LISTEN_FDNAMES='a:b' has 2 names for 1 sockets");
}

TEST(Activation, RefusesADescriptorThatIsNotOpen) {
    EXPECT_EQ(activated({{}}, {{"LISTEN_FDS", "2"}, {"LISTEN_FDNAMES", "web:echo"}}),
              "78 LISTEN_FDS='2', but descriptor 4 (echo) is not open");
}

TEST(Activation, RefusesSocketsThatCanNotBeServed) {
    const auto second = [](const Passed& passed) {
        return activated({{}, passed}, {{"LISTEN_FDS", "2"}, {"LISTEN_FDNAMES", "web:echo"}});
    };
    const auto refused = [](const std::string& why) { return "78 descriptor 4 (echo) of LISTEN_FDS " + why; };
    EXPECT_EQ(second({AF_INET, SOCK_DGRAM, false}), refused("is not a stream socket; use ListenStream="));
    EXPECT_EQ(second({AF_UNIX, SOCK_SEQPACKET, true}), refused("is not a stream socket; use ListenStream="));
    EXPECT_EQ(second({AF_INET, SOCK_STREAM, false}), refused("does not listen; use Accept=no"));
}

TEST(Activation, RefusesProtocolsOtherThanTcp) {
    const auto report = activated({{AF_INET, SOCK_STREAM, true, IPPROTO_MPTCP}}, {{"LISTEN_FDS", "1"}});
    if (report == "no such socket here") {
        GTEST_SKIP() << "this kernel has no MPTCP";
    }
    EXPECT_EQ(report, "78 descriptor 3 (unknown) of LISTEN_FDS speaks protocol 262, not TCP");
}

TEST(Activation, RefusesOtherFamilies) {
    const auto report = activated({{AF_VSOCK, SOCK_STREAM, false}}, {{"LISTEN_FDS", "1"}});
    if (report == "no such socket here") {
        GTEST_SKIP() << "this kernel has no AF_VSOCK";
    }
    EXPECT_EQ(report, "78 descriptor 3 (unknown) of LISTEN_FDS is of family 40, not IPv4, IPv6 or unix");
}

TEST(Activation, RefusesAFileAndAPipe) {
    const auto report = test::in_child([]() -> std::string {
        ::dup2(::open("/dev/null", O_RDWR), 3);
        ::setenv("LISTEN_PID", fmt::format("{}", ::getpid()).c_str(), 1);
        ::setenv("LISTEN_FDS", "1", 1);
        const auto listeners = open_sockets({}, {}, take_activation().value());
        return listeners ? "it was taken" : listeners.error().message;
    });
    EXPECT_EQ(report, "descriptor 3 (unknown) of LISTEN_FDS is not a socket");
}

TEST(Activation, RefusesMoreThan64SocketsInAll) {
    EXPECT_EQ(activated(std::vector<Passed>(64), {{"LISTEN_FDS", "64"}}, {"127.0.0.1:0"}),
              "78 65 sockets, passed and given by --listen, are too many; 64 can be served");
}

} // namespace
} // namespace cloister::supervisor
