// SPDX-License-Identifier: MIT
#pragma once

#include "control/conversation.h"
#include "supervisor/sockets.h"

#include <array>
#include <functional>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <tl/expected.hpp>

namespace cloister::supervisor {

enum class SelfTest {
    answered,
    interrupted, ///< a watched descriptor became readable first
};

/// Connects to `socket` as any client does, says what the handler's conversation says, half-closes, and
/// expects its answer and the end, within ten seconds; gives up when one of `watched` becomes readable.
/// `announce` is called with the address that we come from, before we connect. The error says what happened
/// instead.
[[nodiscard]] tl::expected<SelfTest, std::string>
run_self_test(const ListeningSocket& socket, const std::array<int, 2>& watched,
              const std::function<void(const sockaddr_storage&)>& announce,
              const control::Conversation& conversation, std::string_view content);

} // namespace cloister::supervisor
