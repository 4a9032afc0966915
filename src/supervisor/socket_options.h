// SPDX-License-Identifier: MIT
#pragma once

#include "supervisor/sockets.h"

#include <optional>
#include <string>
#include <string_view>

namespace cloister::supervisor {

/// Sets an int option (setsockopt(2)) and reads it back: a difference is an error. `name` is the socket's,
/// `label` the option's, for the message.
[[nodiscard]] std::optional<Failure> set_option(int fd, const std::string& name, int level, int option,
                                                std::string_view label, int value);

/// Sets what a connection must have and a TCP connection inherits, and what this socket must not have; reads
/// all of it back. Fills send_buffer and receive_buffer. `name` is for the message.
[[nodiscard]] std::optional<Failure> set_options(ListeningSocket& socket, const std::string& name,
                                                 const config::Service& service);

/// Lets clients that say nothing wait for so long before they are accepted (TCP_DEFER_ACCEPT, tcp(7); the
/// kernel rounds it up to what its retransmissions take); zero: not. Only of TCP, and not a socket that was
/// passed: there it is the service manager's choice.
[[nodiscard]] std::optional<Failure> defer_accept(const ListeningSocket& socket,
                                                  std::chrono::milliseconds time);

/// Makes this unix socket refuse descriptors (so_passrights): from its other end, and from clients that
/// connect to it. Does nothing where the kernel has no such option; what clients pass is then closed as
/// src/listener/release.cpp says.
[[nodiscard]] std::optional<Failure> refuse_descriptors(int fd, const std::string& name);

[[nodiscard]] Failure system_failure(const std::string& name, std::string_view call, int error);

} // namespace cloister::supervisor
