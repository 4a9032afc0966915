// SPDX-License-Identifier: MIT
#pragma once

#include "supervisor/sockets.h"

namespace cloister::supervisor {

/// A socket that is bound to `address`, one of `service.listen`, has its options, and listens.
[[nodiscard]] tl::expected<ListeningSocket, Failure> bind_listener(const config::Address& address,
                                                                   const config::Service& service,
                                                                   const std::optional<config::User>& user);

/// Fills name and address from the kernel.
[[nodiscard]] std::optional<Failure> read_bound_address(ListeningSocket& socket);

/// What bind(2), or a step before it, means when it fails with `error`, and the cure.
[[nodiscard]] Failure bind_failure(const config::Address& address, int error);

} // namespace cloister::supervisor
