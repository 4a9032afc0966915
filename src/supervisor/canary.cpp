// SPDX-License-Identifier: MIT
#include "supervisor/canary.h"

#include "supervisor/address.h"

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
    if (is_any_ipv4(address)) {
        reinterpret_cast<sockaddr_in&>(address).sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    } else if (is_any_ipv6(address)) {
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

bool wait_for(int fd, short events, Clock::time_point deadline) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    pollfd polled{fd, events, 0};
    const int ready = poll(&polled, 1, static_cast<int>(std::max<long>(left, 0)));
    if (ready == 0) {
        errno = ETIMEDOUT;
    }
    return ready == 1;
}

tl::expected<void, std::string> connect_to(int fd, const Listener& listener, Clock::time_point deadline,
                                           const std::function<void(const sockaddr_storage&)>& announce) {
    const sockaddr_storage target = reachable(listener.address);
    if (!listener.is_unix) {
        sockaddr_storage source = with_any_port(target);
        socklen_t length = listener.address_length;
        if (bind(fd, reinterpret_cast<const sockaddr*>(&source), length) != 0 ||
            getsockname(fd, reinterpret_cast<sockaddr*>(&source), &length) != 0) {
            return failed("bind");
        }
        announce(source);
    }
    if (connect(fd, reinterpret_cast<const sockaddr*>(&target), listener.address_length) == 0) {
        return {};
    }
    if (errno != EINPROGRESS) {
        return failed("connect");
    }
    int error = 0;
    socklen_t length = sizeof error;
    if (!wait_for(fd, POLLOUT, deadline) || getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0) {
        return failed("connect");
    }
    errno = error;
    return error == 0 ? tl::expected<void, std::string>{} : failed("connect");
}

} // namespace

tl::expected<void, std::string> expect_echo(const Listener& listener,
                                            const std::function<void(const sockaddr_storage&)>& announce) {
    const auto deadline = Clock::now() + patience;
    const Fd client{socket(listener.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    if (!client.valid()) {
        return failed("socket");
    }
    if (auto connected = connect_to(client.get(), listener, deadline, announce); !connected) {
        return connected;
    }
    std::array<char, 32> sent{};
    if (getrandom(sent.data(), sent.size(), 0) != static_cast<ssize_t>(sent.size()) ||
        send(client.get(), sent.data(), sent.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(sent.size()) ||
        shutdown(client.get(), SHUT_WR) != 0) {
        return failed("send");
    }
    std::array<char, sent.size() + 1> received{};
    for (std::size_t size = 0;;) {
        const ssize_t more = wait_for(client.get(), POLLIN, deadline)
                                 ? recv(client.get(), received.data() + size, received.size() - size, 0)
                                 : -1;
        if (more < 0) {
            return failed("recv");
        }
        size += static_cast<std::size_t>(more);
        if (more == 0 || size == received.size()) {
            const bool same =
                size == sent.size() && std::memcmp(sent.data(), received.data(), sent.size()) == 0;
            return same ? tl::expected<void, std::string>{}
                        : tl::unexpected(
                              fmt::format("{} bytes came back for {}, or other ones", size, sent.size()));
        }
    }
}

} // namespace cloister::supervisor
