// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <netinet/in.h>
#include <optional>
#include <string_view>
#include <sys/socket.h>

/// Where clients come from, as admission counts them.
namespace cloister::control {

/// All clients whose address begins with the same bits, or one user of unix sockets. A mapped address
/// (::ffff:192.0.2.1, RFC 4291) is one of IPv4.
struct Source {
    enum class Kind : std::uint8_t { none, ipv4, ipv6, user };

    std::uint8_t address[16]{}; ///< network byte order, zeros behind `prefix`; of a user: the number
    Kind kind = Kind::none;
    std::uint8_t prefix = 0; ///< in bits

    [[nodiscard]] bool operator==(const Source&) const = default;
};

inline constexpr std::uint8_t ipv4_bits = 32, ipv6_bits = 128, user_bits = 32;

/// One address of `family` AF_INET or AF_INET6, as it stands in a sockaddr.
[[nodiscard]] Source source_of(int family, const std::uint8_t* address);
[[nodiscard]] Source source_of_user(std::uint32_t uid);

/// The source that `one` belongs to when only its first `bits` count; a user stays as it is.
[[nodiscard]] Source with_prefix(Source one, std::uint8_t bits);

/// Whether all of `one` lies in `range`.
[[nodiscard]] bool covers(const Source& range, const Source& one);

/// `192.0.2.1`, `192.0.2.0/24`, `2001:db8::/64`, `uid:1000`.
struct SourceText {
    explicit SourceText(const Source& source);
    char text[56];
};

/// The same texts. Nothing if it is none, or has bits behind its prefix.
[[nodiscard]] std::optional<Source> parse_source(std::string_view text);

} // namespace cloister::control
