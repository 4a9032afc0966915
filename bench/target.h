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

/// What a connection will carry, which decides what is worth a system call before it is there.
enum class Traffic {
    OneMessage, ///< at once and in one segment: it takes the last step of the handshake along (tcp(7),
                ///< TCP_QUICKACK)
    Any,        ///< pieces that must not wait for each other (TCP_NODELAY)
};

[[nodiscard]] tl::expected<Target, std::string> parse_target(std::string_view text);

/// A non-blocking socket on its way to the target (sending to it gives EAGAIN until it is there), or errno.
/// The client closes first, so it is the client's port that rests in TIME_WAIT: connection number n comes
/// from the n-th of `sources` addresses in 127.0.1.0/24, else a long run would use up the ports of one
/// address.
[[nodiscard]] tl::expected<Fd, int> start_connect(const Target& target, std::uint64_t number,
                                                  unsigned sources, std::chrono::milliseconds timeout,
                                                  Traffic traffic);

} // namespace cloister::bench
