// SPDX-License-Identifier: MIT
#include "base/signals.h"

#include "base/die.h"

#include <cerrno>
#include <csignal>
#include <sys/syscall.h>
#include <unistd.h>

namespace cloister {

void reset_signals(std::uint64_t blocked) {
    // The kernel's own structure (linux/signal.h): libc hides 32 and 33, which posix_spawn(3) can leave
    // ignored.
    struct {
        std::uint64_t handler, flags, restorer, mask;
    } constexpr by_default{}, * const none = nullptr;
    for (int number = 1; number < NSIG; ++number) {
        auto is = by_default;
        if (number == SIGKILL || number == SIGSTOP) {
            continue;
        }
        if (syscall(SYS_rt_sigaction, number, &by_default, none, sizeof is.mask) != 0 ||
            syscall(SYS_rt_sigaction, number, none, &is, sizeof is.mask) != 0) {
            die(ExitCode::SystemCall, "cannot give signal %d its default action: rt_sigaction: %s", number,
                error_text(errno));
        }
        if (is.handler != 0) {
            die(ExitCode::SelfTest, "asked to give signal %d its default action, the kernel did not do it",
                number);
        }
    }
    std::uint64_t mask = 0;
    if (syscall(SYS_rt_sigprocmask, SIG_SETMASK, &blocked, nullptr, sizeof blocked) != 0 ||
        syscall(SYS_rt_sigprocmask, SIG_SETMASK, nullptr, &mask, sizeof mask) != 0) {
        die(ExitCode::SystemCall, "cannot block signals: rt_sigprocmask: %s", error_text(errno));
    }
    if (mask != blocked) {
        die(ExitCode::SelfTest, "asked to block signals %#lx, the kernel blocks %#lx", blocked, mask);
    }
}

} // namespace cloister
