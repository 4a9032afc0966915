// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <sys/types.h>
#include <tl/expected.hpp>

namespace cloister::config {

/// What --listen names: 127.0.0.1:7007, [::1]:7007, [fe80::1%eth0]:7007 (or the interface's number),
/// unix:/run/x or unix:/run/x,mode=0660.
/// Names are never looked up: the answer of a resolver is no place to decide where a service is reachable.
struct Address {
    std::string text; ///< as it was given
    sockaddr_storage storage;
    socklen_t length;
    mode_t mode = 0660;     ///< of a unix socket
    bool with_ipv4 = false; ///< of [::]: it takes IPv4 connections too (take_ipv4_where_free in model.h)
};

/// The error says what is wrong with `text` and what to write instead, without repeating `text`.
[[nodiscard]] tl::expected<Address, std::string> parse_address(std::string_view text);

/// "127.0.0.1:7007", "[::1]:7007", "unix:/run/x", "unix:@abstract" (which may hold NUL bytes).
[[nodiscard]] std::string name_of(const sockaddr_storage& address, socklen_t length);

[[nodiscard]] uint16_t port_of(const sockaddr_storage& address); ///< 0 for a unix socket
[[nodiscard]] bool is_any_ipv4(const sockaddr_storage& address); ///< 0.0.0.0
[[nodiscard]] bool is_any_ipv6(const sockaddr_storage& address); ///< [::]
[[nodiscard]] bool has_scope(const sockaddr_storage& address);   ///< [fe80::1%eth0]
[[nodiscard]] std::string unix_path(const sockaddr_storage& address, socklen_t length);

} // namespace cloister::config
