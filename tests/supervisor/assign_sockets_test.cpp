// SPDX-License-Identifier: MIT
#include "supervisor/assign_sockets.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>

namespace cloister::supervisor {
namespace {

/// Names of sockets, and of services; with a `+` the service has an address of its own. Returns "service:
/// sockets; …", or the error.
std::string assigned(const std::vector<std::string>& names, const std::vector<std::string>& services) {
    Activation passed;
    for (const auto& name : names) {
        passed.sockets.push_back({ListeningFd{::open("/dev/null", O_RDONLY | O_CLOEXEC)}, name});
    }
    const int first = passed.sockets.empty() ? 0 : passed.sockets.front().fd.get();
    std::vector<config::Service> all;
    for (const auto& name : services) {
        auto& service = all.emplace_back();
        service.name = name.substr(0, name.find('+'));
        if (name.ends_with('+')) {
            service.listen.push_back(config::parse_address("127.0.0.1:0").value());
        }
    }
    const auto result = assign_sockets(std::move(passed), all);
    if (!result) {
        EXPECT_EQ(result.error().code, ExitCode::Config);
        std::string message = result.error().message;
        const auto number = fmt::format("descriptor {} ", first);
        if (const auto at = message.find(number); at != message.npos) {
            message.replace(at, number.size(), "descriptor N ");
        }
        return message;
    }
    EXPECT_EQ(result->size(), all.size());
    std::string text;
    for (size_t i = 0; i < all.size(); ++i) {
        text += all[i].name + ":";
        for (const auto& socket : result->at(i).sockets) {
            EXPECT_NE(::fcntl(socket.fd.get(), F_GETFD), -1) << "it is still open";
            text += " " + socket.name;
        }
        text += "; ";
    }
    return text;
}

TEST(AssignedSockets, AreAllOfTheOneService) {
    EXPECT_EQ(assigned({"unknown", "web", "echo"}, {"echo"}), "echo: unknown web echo; ");
    EXPECT_EQ(assigned({}, {"echo"}), "echo:; ") << "the default address is its";
    EXPECT_EQ(assigned({}, {"echo+"}), "echo:; ");
}

TEST(AssignedSockets, AreThoseOfItsNameOfEachOfSeveral) {
    EXPECT_EQ(assigned({"b", "a", "b"}, {"a", "b"}), "a: a; b: b b; ");
    EXPECT_EQ(assigned({"b"}, {"a+", "b"}), "a:; b: b; ");
    EXPECT_EQ(assigned({"b"}, {"a+", "b+"}), "a:; b: b; ");
    EXPECT_EQ(assigned({}, {"a+", "b+"}), "a:; b:; ");
}

TEST(AssignedSockets, AreRefusedIfTheyAreNobodys) {
    const std::string cure = "name one of them with FileDescriptorName= in its socket unit";
    EXPECT_EQ(assigned({"web"}, {"a+", "b+"}),
              "descriptor N (web) of LISTEN_FDS is for none of the services a, b; " + cure);
    EXPECT_EQ(assigned({"unknown"}, {"a", "b"}), // without LISTEN_FDNAMES
              "descriptor N (unknown) of LISTEN_FDS is for none of the services a, b; " + cure);
    EXPECT_EQ(assigned({""}, {"a", "b"}),
              "descriptor N () of LISTEN_FDS is for none of the services a, b; " + cure);
}

TEST(AssignedSockets, AndAddressesAreWhatAServiceHasAtLeastOneOf) {
    EXPECT_EQ(
        assigned({"a"}, {"a", "b"}),
        "the service 'b' has no address, and no socket was passed for it; give it one, such as listen = "
        "[\"127.0.0.1:7007\"], or FileDescriptorName=b in a socket unit");
}

} // namespace
} // namespace cloister::supervisor
