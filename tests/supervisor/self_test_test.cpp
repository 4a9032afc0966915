// SPDX-License-Identifier: MIT
#include "supervisor/self_test.h"
#include "supervisor/sockets.h"

#include <array>
#include <cerrno>
#include <chrono>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/un.h>

namespace cloister::supervisor {
namespace {

Script talk(std::string says, const std::string& expects, std::size_t most = 100) {
    return {std::move(says), most, [expects](std::string_view heard) {
                return heard == expects ? std::string{} : "heard '" + std::string{heard} + "'";
            }};
}

/// An exchange with this test at the other end.
struct Pair {
    Fd theirs;
    Exchange exchange;

    explicit Pair(Script conversation) : Pair{make(), std::move(conversation)} {}

    void send(std::string_view bytes) const {
        EXPECT_EQ(::send(theirs.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
                  static_cast<ssize_t>(bytes.size()));
    }
    void end() const { EXPECT_EQ(::shutdown(theirs.get(), SHUT_WR), 0); }
    /// All that was said so far.
    std::string received() const {
        char bytes[1000];
        const ssize_t size = ::recv(theirs.get(), bytes, sizeof bytes, MSG_DONTWAIT);
        return {bytes, static_cast<std::size_t>(std::max<ssize_t>(size, 0))};
    }

  private:
    static std::array<int, 2> make() {
        std::array<int, 2> ends{};
        EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
        return ends;
    }
    Pair(std::array<int, 2> ends, Script conversation)
        : theirs{ends[0]}, exchange{Fd{ends[1]}, std::move(conversation)} {}
};

TEST(Exchange, SaysItAllAndEndsAndHearsTheAnswerInPieces) {
    Pair pair{talk("hello", "well done")};
    EXPECT_EQ(pair.exchange.events(), POLLOUT);
    pair.exchange.go_on();
    EXPECT_EQ(pair.exchange.events(), POLLIN);
    EXPECT_EQ(pair.received(), "hello");
    EXPECT_EQ(pair.received(), "") << "its end";
    pair.send("well ");
    pair.exchange.go_on();
    EXPECT_FALSE(pair.exchange.over());
    pair.send("done");
    pair.end();
    pair.exchange.go_on();
    EXPECT_TRUE(pair.exchange.over());
    EXPECT_EQ(pair.exchange.failure(), "");
}

TEST(Exchange, IsNotOverBeforeTheEnd) {
    Pair pair{talk("hello", "hello")};
    pair.exchange.go_on();
    pair.send("hello");
    pair.exchange.go_on();
    EXPECT_FALSE(pair.exchange.over());
}

TEST(Exchange, MaySayNothing) {
    Pair pair{talk("", "date")};
    pair.exchange.go_on();
    pair.send("date");
    pair.end();
    pair.exchange.go_on();
    EXPECT_TRUE(pair.exchange.over());
    EXPECT_EQ(pair.exchange.failure(), "");
}

TEST(Exchange, TellsWhatWasWrong) {
    Pair pair{talk("hello", "hello")};
    pair.send("hullo");
    pair.end();
    pair.exchange.go_on();
    EXPECT_EQ(pair.exchange.failure(), "heard 'hullo'");
    EXPECT_TRUE(pair.exchange.connected());
    EXPECT_EQ(pair.exchange.error(), 0);
}

TEST(Exchange, TakesNoMoreThanItNeeds) {
    Pair pair{talk("hello", "hello", 5)};
    pair.send("hellooo");
    pair.exchange.go_on();
    EXPECT_TRUE(pair.exchange.over()) << "without its end";
    EXPECT_EQ(pair.exchange.failure(), "heard 'hellooo'");
}

TEST(Exchange, TellsThatItWasReset) {
    Pair pair{talk("hello", "hello")};
    pair.exchange.go_on();
    pair.theirs.reset(); // unread
    pair.exchange.go_on();
    EXPECT_NE(pair.exchange.failure().find("recvfrom: ECONNRESET"), std::string::npos)
        << pair.exchange.failure();
}

TEST(Exchange, TellsThatNobodyListens) {
    sockaddr_storage address{};
    auto& in = reinterpret_cast<sockaddr_in&>(address);
    in = {AF_INET, htons(1), {htonl(INADDR_LOOPBACK)}, {}};
    Exchange exchange{Fd{::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)}, talk("", ""),
                      address, sizeof in};
    pollfd polled{exchange.fd(), exchange.events(), 0};
    if (!exchange.over()) {
        EXPECT_EQ(::poll(&polled, 1, 5000), 1);
        exchange.go_on();
    }
    EXPECT_TRUE(exchange.over());
    EXPECT_FALSE(exchange.connected());
    EXPECT_EQ(exchange.error(), ECONNREFUSED);
}

TEST(ScriptOfEcho, HasOtherBytesEachTimeAndTakesNoneButThese) {
    constexpr auto echo = control::Conversation::make(control::Answer::Same, "");
    const Script one = script_of(echo, {});
    EXPECT_EQ(one.says.size(), 32U);
    EXPECT_NE(one.says, script_of(echo, {}).says);
    EXPECT_EQ(one.judge(one.says), "");
    std::string other = one.says;
    other.back() ^= 1;
    EXPECT_NE(one.judge(other), "");
    EXPECT_NE(one.judge(""), "");
    EXPECT_NE(one.judge(one.says + one.says), "");
}

TEST(PrivateSocket, HasOneConnectionAndNeverAnother) {
    auto made = make_private_socket();
    ASSERT_TRUE(made) << made.error().message;
    sockaddr_un address{};
    socklen_t length = sizeof address;
    ASSERT_EQ(::getsockname(made->listening.get(), reinterpret_cast<sockaddr*>(&address), &length), 0);
    EXPECT_EQ(address.sun_path[0], '\0') << "no file system is in its way";
    const auto refused = [&] {
        const Fd another{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
        return ::connect(another.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0 &&
               errno == ECONNREFUSED;
    };
    EXPECT_TRUE(refused());
    const Fd accepted{::accept4(made->listening.get(), nullptr, nullptr, SOCK_CLOEXEC)};
    ASSERT_TRUE(accepted.valid());
    EXPECT_TRUE(refused());
    EXPECT_EQ(::accept4(made->listening.get(), nullptr, nullptr, SOCK_CLOEXEC), -1);
    EXPECT_EQ(errno, EAGAIN);
    Exchange exchange{std::move(made->client), talk("hello", "hello")};
    exchange.go_on();
    char bytes[10];
    EXPECT_EQ(::recv(accepted.get(), bytes, sizeof bytes, 0), 5);
    EXPECT_EQ(::send(accepted.get(), bytes, 5, 0), 5);
    EXPECT_EQ(::shutdown(accepted.get(), SHUT_WR), 0);
    exchange.go_on();
    EXPECT_TRUE(exchange.over());
    EXPECT_EQ(exchange.failure(), "");
}

ListeningSocket listening_socket(sockaddr_storage address, socklen_t length) {
    ListeningSocket socket{};
    socket.fd = ListeningFd{::socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    EXPECT_EQ(::bind(socket.fd.get(), reinterpret_cast<const sockaddr*>(&address), length), 0);
    EXPECT_EQ(::listen(socket.fd.get(), 5), 0);
    EXPECT_EQ(::getsockname(socket.fd.get(), reinterpret_cast<sockaddr*>(&address), &length), 0);
    socket.name = "the socket";
    socket.address = address;
    socket.address_length = length;
    return socket;
}

TEST(PublicClient, ComesFromWhereItSaysAlsoToAWildcard) {
    sockaddr_storage any{};
    reinterpret_cast<sockaddr_in&>(any) = {AF_INET, 0, {htonl(INADDR_ANY)}, {}};
    const ListeningSocket socket = listening_socket(any, sizeof(sockaddr_in));
    PublicClient client = make_public_client(socket);
    ASSERT_EQ(client.error, 0);
    const auto own = reinterpret_cast<const sockaddr_in&>(client.own);
    const Exchange exchange = connect(std::move(client), socket, talk("", ""));
    sockaddr_in peer{};
    socklen_t length = sizeof peer;
    const Fd accepted{::accept4(socket.fd.get(), reinterpret_cast<sockaddr*>(&peer), &length, SOCK_CLOEXEC)};
    ASSERT_TRUE(accepted.valid());
    EXPECT_EQ(peer.sin_port, own.sin_port);
    EXPECT_EQ(peer.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
}

TEST(PublicClient, KnowsThatAnAddressIsNotHere) {
    sockaddr_storage any{};
    reinterpret_cast<sockaddr_in&>(any) = {AF_INET, 0, {htonl(INADDR_ANY)}, {}};
    ListeningSocket socket = listening_socket(any, sizeof(sockaddr_in));
    reinterpret_cast<sockaddr_in&>(socket.address).sin_addr.s_addr = htonl(0xc0000201); // 192.0.2.1: RFC 5737
    const PublicClient client = make_public_client(socket);
    EXPECT_EQ(client.error, EADDRNOTAVAIL);
    EXPECT_EQ(
        unreachable_text(socket, client.error),
        "the socket can't be reached from where cloisterd stands: EADDRNOTAVAIL (Cannot assign requested "
        "address); this host does not have the address, or not any more (is IPv6 off, or an interface "
        "down?)");
}

} // namespace
} // namespace cloister::supervisor
