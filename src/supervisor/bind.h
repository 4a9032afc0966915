// SPDX-License-Identifier: MIT
#pragma once

#include "supervisor/sockets.h"

namespace cloister::supervisor {

/// A socket that is bound to `address`, one of `options.listen`, has its options, and listens.
[[nodiscard]] tl::expected<Listener, Failure> bind_listener(const Address& address, const Options& options);

/// Fills name and address from the kernel.
[[nodiscard]] std::optional<Failure> read_bound_address(Listener& listener);

/// What bind(2), or a step before it, means when it fails with `error`, and the cure.
[[nodiscard]] Failure bind_failure(const Address& address, int error);

} // namespace cloister::supervisor
