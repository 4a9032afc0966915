// SPDX-License-Identifier: MIT
// A byte that a client sends as urgent (MSG_OOB) is a byte to echo, in its place among the others: tcp(7),
// and of unix sockets since Linux 5.15 (CONFIG_AF_UNIX_OOB).
#include "client.h"
#include "harness.h"
#include "lingering.h"

#include <cerrno>
#include <gtest/gtest.h>
#include <optional>

namespace cloister::live {
namespace {

struct Service {
    const char* name;
    int family;
    bool waiting; ///< the client has sent everything before the daemon is started, with the socket passed
};

void PrintTo(const Service& service, std::ostream* out) {
    *out << service.name;
}

struct Piece {
    std::string bytes;
    bool urgent = false;
};
using Stream = std::vector<Piece>;

Piece urgent(const char* byte) {
    return {byte, true};
}

/// A socket that listens and is not accepted from yet.
struct Passed {
    Passed(int family, const std::string& path) {
        if (family == AF_UNIX) {
            fd = std::move(PassedUnixSocket{path}.fd);
            address = "unix:" + path;
            return;
        }
        fd.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_in name{AF_INET, 0, {htonl(INADDR_LOOPBACK)}, {}};
        socklen_t length = sizeof name;
        if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&name), length) != 0 ||
            ::listen(fd.get(), 100) != 0 ||
            ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&name), &length) != 0) {
            throw std::runtime_error{"no socket to pass"};
        }
        address = fmt::format("127.0.0.1:{}", ntohs(name.sin_port));
    }
    Fd fd;
    std::string address;
};

class Urgent : public testing::TestWithParam<Service> {
  protected:
    void SetUp() override {
        if (GetParam().family == AF_UNIX) {
            int ends[2];
            ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
            const Fd one{ends[0]};
            const Fd other{ends[1]};
            if (::send(one.get(), "!", 1, MSG_OOB) != 1) {
                GTEST_SKIP() << "this kernel's unix sockets know no urgent bytes (CONFIG_AF_UNIX_OOB)";
            }
        }
    }

    static void send(const Client& client, const Piece& piece) {
        if (piece.urgent) {
            ASSERT_EQ(::send(client.fd(), piece.bytes.data(), piece.bytes.size(), MSG_OOB), 1);
        } else {
            client.send(piece.bytes);
        }
    }

    [[nodiscard]] live::Setup bound() const {
        return {.listen = {GetParam().family == AF_UNIX ? "unix:" + directory_.file("socket") + ",mode=0666"
                                                        : "127.0.0.1:0"}};
    }

    /// Each stream by a client of its own, and with its end behind it.
    void expect_echoed(const std::vector<Stream>& streams) const {
        std::optional<Passed> passed;
        std::optional<Daemon> daemon;
        if (GetParam().waiting) {
            passed.emplace(GetParam().family, directory_.file("socket"));
        } else {
            daemon.emplace(bound());
        }
        std::vector<Client> clients;
        for (const Stream& stream : streams) {
            clients.emplace_back(passed ? passed->address : daemon->address());
            for (const Piece& piece : stream) {
                send(clients.back(), piece);
            }
            clients.back().half_close();
        }
        if (passed) {
            daemon.emplace(live::Setup{.passed = {passed->fd.get()}});
        }
        for (std::size_t i = 0; i < streams.size(); ++i) {
            std::string expected;
            for (const Piece& piece : streams[i]) {
                expected += piece.bytes;
            }
            EXPECT_EQ(clients[i].receive_to_end(), expected) << "stream " << i;
        }
    }

    TemporaryDirectory directory_;
};

INSTANTIATE_TEST_SUITE_P(Of, Urgent,
                         testing::Values(Service{"Tcp", AF_INET, false}, Service{"Unix", AF_UNIX, false},
                                         Service{"TcpBeforeTheDaemonIsThere", AF_INET, true},
                                         Service{"UnixBeforeTheDaemonIsThere", AF_UNIX, true}),
                         [](const auto& instance) { return instance.param.name; });

TEST_P(Urgent, BytesComeBackInTheirPlace) {
    expect_echoed({{{"ab"}, urgent("X"), {"cd"}},
                   {urgent("X"), {"ab"}},
                   {{"ab"}, urgent("X")},
                   {urgent("X")},
                   {{"a"}, urgent("X"), urgent("Y"), {"b"}, urgent("Z"), {"c"}, urgent("!")},
                   {{random_bytes(20'000)}, urgent("X"), {random_bytes(20'000, 2)}}});
}

TEST_P(Urgent, BytesAtTheBeginComeBackThoughMoreFollow) {
    if (GetParam().waiting && GetParam().family == AF_INET) {
        GTEST_SKIP() << "the kernel drops the first one before we have the connection (tcp_check_urg())";
    }
    expect_echoed({{urgent("X"), urgent("Y"), {"ab"}}, {urgent("X"), {"ab"}, urgent("Y")}});
}

TEST_P(Urgent, BytesComeBackAtOnce) {
    if (GetParam().waiting) {
        GTEST_SKIP() << "nobody answers before the daemon is there";
    }
    const Daemon daemon{bound()};
    const Client client{daemon.address()};
    for (int i = 0; i < 3; ++i) {
        for (const Piece& piece : Stream{urgent("X"), {"ab"}, urgent("Y"), urgent("Z"), {"c"}}) {
            send(client, piece);
            EXPECT_EQ(client.receive(piece.bytes.size()), piece.bytes);
        }
    }
}

} // namespace
} // namespace cloister::live
