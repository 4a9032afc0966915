// SPDX-License-Identifier: MIT
#include "target.h"

#include <arpa/inet.h>
#include <charconv>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/time.h>
#include <sys/un.h>

namespace cloister::bench {

namespace {

tl::expected<Target, std::string> parse_unix(std::string_view text) {
    const std::string_view path = text.substr(sizeof "unix:" - 1);
    sockaddr_un name{};
    if (path.empty() || path.size() >= sizeof name.sun_path) {
        return tl::unexpected(
            fmt::format("'{}': the path must have 1 to {} bytes", text, sizeof name.sun_path - 1));
    }
    name.sun_family = AF_UNIX;
    std::memcpy(name.sun_path, path.data(), path.size());
    Target target{std::string{text}, {}, sizeof name};
    std::memcpy(&target.address, &name, sizeof name);
    return target;
}

tl::expected<in_port_t, std::string> parse_port(std::string_view text, std::string_view digits) {
    std::uint16_t port = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
    if (error != std::errc{} || end != digits.data() + digits.size() || port == 0) {
        return tl::unexpected(fmt::format("'{}': '{}' is not a port from 1 to 65535", text, digits));
    }
    return htons(port);
}

} // namespace

bool Target::is_loopback4() const {
    sockaddr_in name{};
    std::memcpy(&name, &address, sizeof name);
    return family() == AF_INET && ntohl(name.sin_addr.s_addr) >> 24 == 127;
}

tl::expected<Target, std::string> parse_target(std::string_view text) {
    if (text.starts_with("unix:")) {
        return parse_unix(text);
    }
    const std::size_t colon = text.rfind(':');
    if (colon == std::string_view::npos) {
        return tl::unexpected(fmt::format("'{}' is neither ADDR:PORT, [ADDR]:PORT nor unix:/path", text));
    }
    const auto port = parse_port(text, text.substr(colon + 1));
    if (!port) {
        return tl::unexpected(port.error());
    }
    std::string host{text.substr(0, colon)};
    Target target{std::string{text}, {}, 0};
    sockaddr_in v4{};
    sockaddr_in6 v6{};
    if (host.size() > 2 && host.front() == '[' && host.back() == ']' &&
        inet_pton(AF_INET6, host.substr(1, host.size() - 2).c_str(), &v6.sin6_addr) == 1) {
        v6.sin6_family = AF_INET6;
        v6.sin6_port = *port;
        target.length = sizeof v6;
        std::memcpy(&target.address, &v6, sizeof v6);
    } else if (inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1) {
        v4.sin_family = AF_INET;
        v4.sin_port = *port;
        target.length = sizeof v4;
        std::memcpy(&target.address, &v4, sizeof v4);
    } else {
        return tl::unexpected(fmt::format("'{}': '{}' is not a numeric IPv4 or [IPv6] address", text, host));
    }
    return target;
}

tl::expected<Fd, int> start_connect(const Target& target, std::uint64_t number, const Sources& sources,
                                    std::chrono::milliseconds timeout, Traffic traffic) {
    // A unix socket connects at once or not at all: a non-blocking one would fail whenever the backlog is
    // full, so it waits there, for so long at most.
    const bool local = target.family() == AF_UNIX;
    Fd fd{::socket(target.family(), SOCK_STREAM | SOCK_CLOEXEC | (local ? 0 : SOCK_NONBLOCK), 0)};
    if (!fd.valid()) {
        return tl::unexpected(errno);
    }
    const int on = 1;
    if (local) {
        const timeval limit{timeout.count() / 1000, static_cast<suseconds_t>(timeout.count() % 1000 * 1000)};
        ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    } else if (traffic == Traffic::OneMessage) {
        const int off = 0;
        ::setsockopt(fd.get(), IPPROTO_TCP, TCP_QUICKACK, &off, sizeof off);
    } else {
        ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    if (sources.routed || (sources.count > 1 && target.is_loopback4())) {
        sockaddr_in source{};
        source.sin_family = AF_INET;
        source.sin_addr.s_addr = htonl(sources.at(number));
        // The port is chosen by connect, when both ends are known: bind alone would look for one free towards
        // anybody.
        ::setsockopt(fd.get(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
        if (sources.routed) {
            ::setsockopt(fd.get(), IPPROTO_IP, IP_FREEBIND, &on, sizeof on);
        }
        if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&source), sizeof source) != 0) {
            return tl::unexpected(errno);
        }
    }
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&target.address), target.length) != 0 &&
        errno != EINPROGRESS) {
        return tl::unexpected(errno);
    }
    if (local && ::fcntl(fd.get(), F_SETFL, O_NONBLOCK) != 0) {
        return tl::unexpected(errno);
    }
    return fd;
}

} // namespace cloister::bench
