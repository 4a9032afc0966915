// SPDX-License-Identifier: MIT
// What a service manager is told on NOTIFY_SOCKET.
#include "client.h"
#include "harness.h"

#include <csignal>
#include <fmt/core.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace cloister::live {
namespace {

using namespace std::chrono_literals;

/// A service manager's socket, in the abstract namespace.
class Notify : public testing::Test {
  protected:
    std::string name_ = fmt::format("cloister-notify-{}-{}", ::getpid(),
                                    testing::UnitTest::GetInstance()->current_test_info()->name());
    Fd fd_{::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)};

    Notify() {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        name_.copy(address.sun_path + 1, sizeof address.sun_path - 1);
        const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name_.size());
        EXPECT_EQ(::bind(fd_.get(), reinterpret_cast<const sockaddr*>(&address), length), 0);
    }
    [[nodiscard]] live::Setup setup(std::vector<std::string> variables = {}) const {
        live::Setup setup;
        setup.through = {"/usr/bin/env", "NOTIFY_SOCKET=@" + name_};
        setup.through.insert(setup.through.end(), variables.begin(), variables.end());
        return setup;
    }
    /// The first message that begins so, within 10 s; empty: none came.
    [[nodiscard]] std::string await(const std::string& start) const {
        std::string found;
        (void)within(10s, [&] {
            pollfd polled{fd_.get(), POLLIN, 0};
            char text[4096];
            if (::poll(&polled, 1, 100) == 1) {
                const ssize_t size = ::recv(fd_.get(), text, sizeof text, 0);
                const std::string message{text, size > 0 ? static_cast<std::size_t>(size) : 0};
                found = message.starts_with(start) ? message : "";
            }
            return !found.empty();
        });
        return found;
    }
};

TEST_F(Notify, IsToldOfStartReloadDrainAndEnd) {
    Daemon daemon{setup()};
    EXPECT_NE(await("READY=1\nSTATUS=serving 1 services, "), "");
    daemon.signal(SIGHUP);
    EXPECT_NE(await("RELOADING=1\nMONOTONIC_USEC="), "");
    EXPECT_NE(await("READY=1"), "");
    const Client client{daemon.address()};
    ASSERT_TRUE(client.echoes("here"));
    EXPECT_NE(await("STATUS=serving 1 services, 1 connections"), "");
    daemon.signal(SIGTERM);
    EXPECT_NE(await("STOPPING=1"), "");
    EXPECT_NE(await("EXTEND_TIMEOUT_USEC=20000000\nSTATUS=stopping: 1 connections are left"), "");
    EXPECT_EQ(daemon.await_record("draining")["live"], 1);
    daemon.signal(SIGTERM);
    EXPECT_EQ(daemon.ends_within(10s), 0);
}

TEST_F(Notify, GetsAWatchdogMessageInTimeUnlessTheSupervisorIsStopped) {
    const Daemon daemon{setup({"WATCHDOG_USEC=400000"})};
    for (int i = 0; i < 5; ++i) {
        EXPECT_EQ(await("WATCHDOG=1"), "WATCHDOG=1");
    }
    daemon.signal(SIGSTOP);
    std::this_thread::sleep_for(300ms);
    char text[4096];
    while (::recv(fd_.get(), text, sizeof text, MSG_DONTWAIT) > 0) {
    }
    std::this_thread::sleep_for(600ms);
    EXPECT_LT(::recv(fd_.get(), text, sizeof text, MSG_DONTWAIT), 0);
    daemon.signal(SIGCONT);
    EXPECT_EQ(await("WATCHDOG=1"), "WATCHDOG=1");
}

TEST_F(Notify, IsNotToldWhereTheWatchdogIsForAnotherProcess) {
    const Daemon daemon{setup({"WATCHDOG_USEC=400000", "WATCHDOG_PID=1"})};
    EXPECT_NE(await("READY=1"), "");
    std::this_thread::sleep_for(1s);
    char text[4096];
    for (ssize_t size = 0; (size = ::recv(fd_.get(), text, sizeof text, MSG_DONTWAIT)) > 0;) {
        EXPECT_FALSE(std::string_view(text, static_cast<std::size_t>(size)).starts_with("WATCHDOG"));
    }
}

TEST(NotifySocket, ThatIsWrongOrNobodysIsAWarningOnce) {
    for (const std::string socket : {"relative", "/nowhere/notify", "@nobody-listens-here", "@"}) {
        live::Setup setup;
        setup.through = {"/usr/bin/env", "NOTIFY_SOCKET=" + socket};
        const Daemon daemon{std::move(setup)};
        const auto warning = daemon.await_record("warning", [](const Json& record) {
            return std::string{record["message"]}.find("NOTIFY_SOCKET") != std::string::npos;
        });
        EXPECT_TRUE(Client(daemon.address()).echoes("served"));
    }
}

} // namespace
} // namespace cloister::live
