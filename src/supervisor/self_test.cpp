// SPDX-License-Identifier: MIT
#include "supervisor/self_test.h"

#include "config/address.h"
#include "control/judge.h"
#include "supervisor/socket_options.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fmt/core.h>
#include <netinet/in.h>
#include <poll.h>
#include <string_view>
#include <sys/random.h>

namespace cloister::supervisor {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto patience = std::chrono::seconds{10};

tl::unexpected<std::string> failed(std::string_view what) {
    return tl::unexpected(fmt::format("{}: {}", what, strerrordesc_np(errno)));
}

/// Where a client on this host reaches a socket that is bound to `address`.
sockaddr_storage reachable(sockaddr_storage address) {
    if (config::is_any_ipv4(address)) {
        reinterpret_cast<sockaddr_in&>(address).sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    } else if (config::is_any_ipv6(address)) {
        reinterpret_cast<sockaddr_in6&>(address).sin6_addr = in6addr_loopback;
    }
    return address;
}

sockaddr_storage with_any_port(sockaddr_storage address) {
    if (address.ss_family == AF_INET) {
        reinterpret_cast<sockaddr_in&>(address).sin_port = 0;
    } else {
        reinterpret_cast<sockaddr_in6&>(address).sin6_port = 0;
    }
    return address;
}

/// The self-test's own socket, and what may make the wait for it pointless.
class Client {
  public:
    Client(int family, const std::array<int, 2>& watched)
        : fd_{socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)}, watched_{watched} {}

    [[nodiscard]] int fd() const { return fd_.get(); }
    [[nodiscard]] bool interrupted() const { return interrupted_; }

    /// False with errno: the time is over, or interrupted().
    bool wait_for(short events) { return wait(fd_.get(), events, left()); }

    /// A moment, then true; false as above.
    bool rest() {
        constexpr std::chrono::milliseconds moment{20};
        (void)wait(-1, 0, std::min(left(), moment));
        return !interrupted_ && left().count() > 0;
    }

  private:
    Fd fd_;
    std::array<int, 2> watched_;
    Clock::time_point deadline_ = Clock::now() + patience;
    bool interrupted_ = false;

    [[nodiscard]] std::chrono::milliseconds left() const {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline_ - Clock::now());
        return std::max(left, std::chrono::milliseconds{0});
    }

    bool wait(int fd, short events, std::chrono::milliseconds time) {
        std::array<pollfd, 3> polled{{{fd, events, 0}, {watched_[0], POLLIN, 0}, {watched_[1], POLLIN, 0}}};
        const int ready = poll(polled.data(), polled.size(), static_cast<int>(time.count()));
        interrupted_ = ready > 0 && (polled[1].revents != 0 || polled[2].revents != 0);
        errno = ready == 0 ? ETIMEDOUT : errno;
        return !interrupted_ && ready > 0;
    }
};

tl::expected<void, std::string> connect_to(Client& client, const ListeningSocket& socket,
                                           const std::function<void(const sockaddr_storage&)>& announce) {
    const sockaddr_storage target = reachable(socket.address);
    if (!socket.is_unix) {
        sockaddr_storage source = with_any_port(target);
        socklen_t length = socket.address_length;
        if (bind(client.fd(), reinterpret_cast<const sockaddr*>(&source), length) != 0 ||
            getsockname(client.fd(), reinterpret_cast<sockaddr*>(&source), &length) != 0) {
            return failed("bind");
        }
        announce(source);
    }
    const auto try_to_connect = [&] {
        return connect(client.fd(), reinterpret_cast<const sockaddr*>(&target), socket.address_length) == 0;
    };
    bool connected = try_to_connect();
    while (!connected && errno == EAGAIN && client.rest()) { // a unix socket with a full backlog: connect(2)
        connected = try_to_connect();
    }
    if (connected) {
        return {};
    }
    int error = 0;
    socklen_t length = sizeof error;
    if (errno != EINPROGRESS || !client.wait_for(POLLOUT) ||
        getsockopt(client.fd(), SOL_SOCKET, SO_ERROR, &error, &length) != 0) {
        return failed("connect");
    }
    errno = error;
    return error == 0 ? tl::expected<void, std::string>{} : failed("connect");
}

tl::expected<void, std::string> exchange(Client& client, const control::Conversation& conversation,
                                         std::string_view content) {
    std::array<char, 32> bytes{};
    const std::string_view random{bytes.data(), bytes.size()};
    const std::string_view request = control::request_of(conversation, random);
    if (getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()) ||
        send(client.fd(), request.data(), request.size(), MSG_NOSIGNAL) !=
            static_cast<ssize_t>(request.size()) ||
        (shutdown(client.fd(), SHUT_WR) != 0 && errno != ENOTCONN)) { // it may have answered and gone
        return failed("send");
    }
    std::string received;
    const std::size_t longest = control::longest_answer(conversation, random, content);
    for (std::array<char, 65536> piece{};;) {
        const ssize_t more = client.wait_for(POLLIN) ? recv(client.fd(), piece.data(), piece.size(), 0) : -1;
        if (more < 0) {
            return failed("recv");
        }
        received.append(piece.data(), static_cast<std::size_t>(more));
        if (more == 0 || received.size() > longest) {
            return control::is_answer(conversation, random, content, received)
                       ? tl::expected<void, std::string>{}
                       : tl::unexpected(fmt::format("{} bytes came back for {}, not {}", received.size(),
                                                    request.size(), control::name_of(conversation.kind)));
        }
    }
}

} // namespace

tl::expected<SelfTest, std::string>
run_self_test(const ListeningSocket& socket, const std::array<int, 2>& watched,
              const std::function<void(const sockaddr_storage&)>& announce,
              const control::Conversation& conversation, std::string_view content) {
    Client client{socket.address.ss_family, watched};
    if (client.fd() < 0) {
        return failed("socket");
    }
    if (socket.is_unix) {
        if (const auto failure = refuse_descriptors(client.fd(), socket.name)) {
            return tl::unexpected(failure->message);
        }
    }
    auto done = connect_to(client, socket, announce);
    if (done) {
        done = exchange(client, conversation, content);
    }
    if (!done && client.interrupted()) {
        return SelfTest::interrupted;
    }
    if (!done) {
        return tl::unexpected(done.error());
    }
    return SelfTest::answered;
}

} // namespace cloister::supervisor
