// SPDX-License-Identifier: MIT
#pragma once

#include "base/fd.h"

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <tl/expected.hpp>

namespace cloister::bench {

/// Whom to load: 127.0.0.1:7007, [::1]:7007 or unix:/path.
struct Target {
    std::string text;
    sockaddr_storage address{};
    socklen_t length = 0;

    [[nodiscard]] int family() const { return address.ss_family; }
    /// Only then is there a choice of source addresses: all of 127/8 is ours.
    [[nodiscard]] bool is_loopback4() const;
};

/// Where connections come from: number n from the n-th address after `first`, `step` apart, and from the
/// first again after `count` of them.
struct Sources {
    std::uint32_t first = 0x7f000101; ///< IPv4, in host order: 127.0.1.1
    std::uint32_t count = 1;
    std::uint32_t step = 1;
    bool routed =
        false; ///< the addresses are routed to this host, but no interface has them (IP_FREEBIND, ip(7))

    [[nodiscard]] std::uint32_t at(std::uint64_t number) const {
        return first + static_cast<std::uint32_t>(number % count) * step;
    }
};

/// What a connection will carry, which decides what is worth a system call before it is there.
enum class Traffic {
    OneMessage, ///< at once and in one segment: it takes the last step of the handshake along (tcp(7),
                ///< TCP_QUICKACK)
    Any,        ///< pieces that must not wait for each other (TCP_NODELAY)
};

[[nodiscard]] tl::expected<Target, std::string> parse_target(std::string_view text);

/// A non-blocking socket on its way to the target (sending to it gives EAGAIN until it is there), or errno.
/// The client closes first, so it is the client's port that rests in TIME_WAIT: with one address a long run
/// would use up its ports. `sources` is for loopback targets, and for others if it is routed.
[[nodiscard]] tl::expected<Fd, int> start_connect(const Target& target, std::uint64_t number,
                                                  const Sources& sources, std::chrono::milliseconds timeout,
                                                  Traffic traffic);

} // namespace cloister::bench
