// SPDX-License-Identifier: MIT
#pragma once

#include "supervisor/sockets.h"

namespace cloister::supervisor {

/// A socket that is bound to `address` and listens. `all` are all addresses that shall be bound.
[[nodiscard]] tl::expected<Listener, Failure>
bind_listener(const Address& address, const std::vector<Address>& all, const std::optional<User>& owner);

/// What setsockopt(2) sets is read back; a difference is an error. `name` is for the message.
[[nodiscard]] std::optional<Failure> set_inherited_options(int fd, const std::string& name,
                                                           std::chrono::milliseconds idle_timeout);

/// Fills name and address from the kernel.
[[nodiscard]] std::optional<Failure> read_bound_address(Listener& listener);

/// What bind(2), or a step before it, means when it fails with `error`, and the cure.
[[nodiscard]] Failure bind_failure(const Address& address, int error);

[[nodiscard]] Failure system_failure(const std::string& name, std::string_view call, int error);

} // namespace cloister::supervisor
