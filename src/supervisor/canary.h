// SPDX-License-Identifier: MIT
#pragma once

#include "supervisor/sockets.h"

#include <functional>
#include <string>
#include <sys/socket.h>
#include <tl/expected.hpp>

namespace cloister::supervisor {

/// Connects to `listener` as any client does, sends random bytes, half-closes, and expects exactly these
/// bytes and the end, within ten seconds. `announce` is called with the address that we come from, before we
/// connect. The error says what happened instead.
[[nodiscard]] tl::expected<void, std::string>
expect_echo(const Listener& listener, const std::function<void(const sockaddr_storage&)>& announce);

} // namespace cloister::supervisor
