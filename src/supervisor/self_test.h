// SPDX-License-Identifier: MIT
#pragma once

#include "supervisor/sockets.h"

#include <array>
#include <functional>
#include <string>
#include <sys/socket.h>
#include <tl/expected.hpp>

namespace cloister::supervisor {

enum class SelfTest {
    echoed,
    interrupted, ///< a watched descriptor became readable first
};

/// Connects to `socket` as any client does, sends random bytes, half-closes, and expects exactly these
/// bytes and the end, within ten seconds; gives up when one of `watched` becomes readable. `announce` is
/// called with the address that we come from, before we connect. The error says what happened instead.
[[nodiscard]] tl::expected<SelfTest, std::string>
run_self_test(const ListeningSocket& socket, const std::array<int, 2>& watched,
              const std::function<void(const sockaddr_storage&)>& announce);

} // namespace cloister::supervisor
