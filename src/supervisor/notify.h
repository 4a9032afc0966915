// SPDX-License-Identifier: MIT
#pragma once

#include "base/fd.h"

#include <chrono>
#include <optional>
#include <string>
#include <sys/socket.h>
#include <sys/un.h>
#include <utility>

namespace cloister::supervisor {

/// Tells a service manager how we are (sd_notify(3)): a datagram to the socket that NOTIFY_SOCKET names.
/// Never waits. Where it cannot be told, why_not() says why, and nothing else happens.
class Notifier {
  public:
    using Clock = std::chrono::steady_clock;

    /// From the environment, which keeps the variables: after an upgrade they are needed again.
    [[nodiscard]] static Notifier from_environment();
    /// `socket`: a path, or `@` and an abstract name; null or empty: nobody wants to know. `watchdog_usec`
    /// and `watchdog_pid`: as the variables have them; null: unset.
    Notifier(const char* socket, const char* watchdog_usec, const char* watchdog_pid);

    /// `READY=1`, or several lines of such assignments.
    void send(const std::string& state);

    /// Empty unless telling has failed; once.
    [[nodiscard]] std::string take_why_not() { return std::exchange(why_not_, {}); }

    /// Half the time in which WATCHDOG=1 is expected; nothing: it is not.
    [[nodiscard]] std::optional<std::chrono::milliseconds> watchdog() const { return watchdog_; }
    [[nodiscard]] bool wanted() const { return length_ != 0; }

  private:
    sockaddr_un address_{};
    socklen_t length_ = 0; ///< 0: nobody wants to know
    Fd socket_;
    std::optional<std::chrono::milliseconds> watchdog_;
    std::string why_not_;
    bool failed_ = false; ///< and said so
};

/// `RELOADING=1` and the time that goes with it.
[[nodiscard]] std::string reloading_state();

} // namespace cloister::supervisor
