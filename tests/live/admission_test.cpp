// SPDX-License-Identifier: MIT
// Who gets a cell, with the default limits: one source takes no more than its share, and nobody else is
// touched by that.
#include "client.h"
#include "harness.h"

#include <arpa/inet.h>
#include <csignal>
#include <fmt/core.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

namespace cloister::live {
namespace {

using namespace std::chrono_literals;

std::uint16_t port_of(const std::string& address) {
    return static_cast<std::uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)));
}

sockaddr_in in(const char* address, std::uint16_t port) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(port);
    inet_pton(AF_INET, address, &at.sin_addr);
    return at;
}

/// A client that comes from that address of loopback, and port.
class From {
  public:
    From(const char* source, const std::string& to) : fd_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)} {
        constexpr int on = 1;
        (void)::setsockopt(fd_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        const sockaddr_in from = in(source, 0);
        EXPECT_EQ(::bind(fd_.get(), reinterpret_cast<const sockaddr*>(&from), sizeof from), 0);
        if (!to.empty()) {
            connect(to);
        }
    }
    void connect(const std::string& to) {
        const sockaddr_in at = in("127.0.0.1", port_of(to));
        connected_ = ::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0;
    }
    [[nodiscard]] std::uint16_t port() const {
        sockaddr_in own{};
        socklen_t length = sizeof own;
        (void)::getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&own), &length);
        return ntohs(own.sin_port);
    }
    /// Whether a byte comes back; false after a reset.
    [[nodiscard]] bool is_served() const {
        char byte = 'x';
        pollfd polled{fd_.get(), POLLIN, 0};
        return connected_ && ::send(fd_.get(), &byte, 1, MSG_NOSIGNAL) == 1 &&
               ::poll(&polled, 1, 10'000) == 1 && ::recv(fd_.get(), &byte, 1, 0) == 1;
    }

  private:
    Fd fd_;
    bool connected_ = false;
};

unsigned served(const std::vector<From>& clients) {
    unsigned count = 0;
    for (const From& client : clients) {
        count += client.is_served() ? 1U : 0U;
    }
    return count;
}

Setup limited(std::vector<std::string> options = {}) {
    Setup setup;
    setup.unlimited = false;
    setup.options = std::move(options);
    return setup;
}

TEST(Admission, OneSourceThatTakesAllPlacesShutsNobodyElseOut) {
    const Daemon daemon{limited({"--source-rate=1000/s"})};
    std::vector<From> attackers;
    for (int i = 0; i < 300; ++i) {
        attackers.emplace_back("127.0.0.2", daemon.address());
    }
    EXPECT_EQ(served(attackers), 64U);
    for (int i = 0; i < 20; ++i) {
        EXPECT_TRUE(From("127.0.0.1", daemon.address()).is_served());
    }
    const auto record = daemon.await_record("refused");
    EXPECT_EQ(record["reason"], "source");
    EXPECT_EQ(record["source"], "127.0.0.2");
}

TEST(Admission, OneSourceThatConnectsTooOftenIsReset) {
    const Daemon daemon{limited({"--source-rate=1/s:5"})};
    unsigned count = 0;
    for (int i = 0; i < 20; ++i) {
        count += From("127.0.0.2", daemon.address()).is_served() ? 1U : 0U;
    }
    EXPECT_GE(count, 5U);
    EXPECT_LE(count, 15U);
    EXPECT_TRUE(From("127.0.0.1", daemon.address()).is_served());
    EXPECT_EQ(daemon.await_record("refused")["reason"], "rate");
}

TEST(Admission, KeepsPlacesForExemptClients) {
    const Daemon daemon{limited({"--max-connections=10", "--exempt=127.0.0.9", "--reserve=20%"})};
    std::vector<From> others;
    for (int i = 0; i < 12; ++i) {
        others.emplace_back("127.0.0.2", daemon.address());
    }
    EXPECT_EQ(served(others), 8U);
    EXPECT_TRUE(From("127.0.0.9", daemon.address()).is_served());
    EXPECT_EQ(daemon.await_record("refused")["reason"], "reserved");
}

TEST(Admission, ShutsASourceOutWhoseCellCrashesAndANewListenerDoesSoStill) {
    Daemon daemon{limited({"--penalty=1h"})};
    const From crasher{"127.0.0.2", daemon.address()};
    ASSERT_TRUE(crasher.is_served());
    ASSERT_EQ(::kill(daemon.only_cell(), SIGSEGV), 0);
    const auto penalty = daemon.await_record("penalty");
    EXPECT_EQ(penalty["source"], "127.0.0.2");
    EXPECT_EQ(penalty["reason"], "crashed");
    EXPECT_EQ(penalty["duration_ms"], 3'600'000);
    EXPECT_FALSE(From("127.0.0.2", daemon.address()).is_served());
    EXPECT_TRUE(From("127.0.0.3", daemon.address()).is_served());
    const pid_t listener = daemon.listener();
    ASSERT_EQ(::kill(listener, SIGKILL), 0);
    (void)daemon.await_record("ready", [](const Json& ready) { return ready["generation"] == 2; });
    EXPECT_FALSE(From("127.0.0.2", daemon.address()).is_served()) << "the penalty outlives the listener";
    EXPECT_TRUE(From("127.0.0.3", daemon.address()).is_served());
}

TEST(Admission, CountsNoConnectionOfAListenerThatWasKilled) {
    const Daemon daemon{limited({"--source-rate=1000/s"})};
    for (unsigned generation = 2; generation <= 4; ++generation) {
        std::vector<From> clients;
        for (int i = 0; i < 64; ++i) {
            clients.emplace_back("127.0.0.2", daemon.address());
        }
        ASSERT_EQ(served(clients), 64U) << generation;
        EXPECT_FALSE(From("127.0.0.2", daemon.address()).is_served());
        ASSERT_EQ(::kill(daemon.listener(), SIGKILL), 0);
        (void)daemon.await_record("ready",
                                  [&](const Json& ready) { return ready["generation"] == generation; });
    }
}

TEST(Admission, CountsAUserOfUnixSocketsAsASource) {
    const TemporaryDirectory directory;
    live::Setup setup = limited({"--max-per-source=2"});
    setup.listen = {"unix:" + directory.file("socket") + ",mode=0666"};
    ASSERT_TRUE(!am_root() || ::chown(directory.path().c_str(), daemon_id, daemon_id) == 0);
    const Daemon daemon{std::move(setup)};
    const Client one{daemon.address()};
    const Client two{daemon.address()};
    EXPECT_TRUE(one.echoes("1"));
    EXPECT_TRUE(two.echoes("2"));
    EXPECT_TRUE(Client(daemon.address()).ends_within(10s));
    EXPECT_EQ(daemon.await_record("refused")["source"], fmt::format("uid:{}", ::geteuid()));
}

TEST(Admission, RefusesAClientThatIsOneOfOurOwnSockets) {
    for (const char* own : {"0.0.0.0", "127.0.0.7", "127.0.0.1"}) {
        SCOPED_TRACE(own);
        // Bound before cloisterd binds: with SO_REUSEADDR both may have the port until one of them listens.
        From client{"127.0.0.7", ""};
        live::Setup setup = limited({"--exempt=127.0.0.0/8"});
        setup.listen = {fmt::format("{}:{}", own, client.port()), "127.0.0.1:0"};
        const Daemon daemon{std::move(setup)};
        client.connect(daemon.ready()["listen"][1]);
        const bool loop = own != std::string_view{"127.0.0.1"};
        EXPECT_EQ(client.is_served(), !loop);
        EXPECT_TRUE(From("127.0.0.7", daemon.ready()["listen"][1]).is_served());
        if (loop) {
            EXPECT_EQ(daemon.await_record("refused")["reason"], "loop");
        }
    }
}

TEST(Admission, GivesASilentClientNoCellAtFirst) {
    const Daemon daemon{limited()};
    const Client silent{daemon.address()};
    EXPECT_TRUE(silent.is_quiet_for(300ms));
    EXPECT_TRUE(daemon.has_cells(0));
    EXPECT_TRUE(silent.echoes("now"));
    EXPECT_TRUE(daemon.has_cells(1));
    Client gone{daemon.address()};
    const std::string name = gone.name();
    gone.close();
    const auto record = daemon.end_of(name);
    EXPECT_EQ(record["reason"], "probe");
    EXPECT_EQ(record["level"], "debug");
}

} // namespace
} // namespace cloister::live
