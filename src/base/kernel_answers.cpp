// SPDX-License-Identifier: MIT
#include "base/kernel_answers.h"

#include "base/die.h"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

namespace cloister {
namespace {

/// die() needs write(2) and exit_group(2). writev(2) and exit(2), which libc uses then, may be allowed.
[[noreturn]] void end_without(const char* call, int error) {
    char text[512];
    int length = std::snprintf(text, sizeof text, "%s: %s: %s", program_invocation_short_name, call,
                               error_text(error));
    const auto cure = missing_cure({text, static_cast<std::size_t>(length)});
    length += std::snprintf(text + length, sizeof text - static_cast<std::size_t>(length), "%s%s\n",
                            cure.empty() ? "" : "; ", cure.empty() ? "" : cure.data());
    const iovec part{text, static_cast<std::size_t>(length)};
    [[maybe_unused]] const ssize_t written = writev(STDERR_FILENO, &part, 1);
    _exit(static_cast<int>(ExitCode::SystemCall));
}

void expect_write() {
    if (syscall(SYS_write, -1, nullptr, 0) < 0 && errno != EBADF) {
        end_without("write", errno);
    }
}

/// Cells have no other call to end with: they would run on, and use their CPU time.
void expect_exit_group() {
    const pid_t self = getpid();
    const pid_t child = fork();
    if (child < 0) {
        die(ExitCode::SystemCall, "cannot try whether a process can end: fork (clone): %s",
            error_text(errno));
    }
    if (child == 0 && getpid() == self) {
        die(ExitCode::SelfTest, "asked for a child, the kernel made none");
    }
    if (child == 0) {
        syscall(SYS_exit_group, 0);
        _exit(errno);
    }
    int status = 0;
    if (waitpid(child, &status, 0) != child) {
        die(ExitCode::SystemCall, "cannot try whether a process can end: wait4: %s", error_text(errno));
    }
    if (status != 0) {
        end_without("exit_group", WEXITSTATUS(status));
    }
}

/// A call by which nothing is done, or nothing that matters.
struct Question {
    const char* call;
    long number;
    int answer; ///< errno; 0: it succeeds
    long arguments[4];
};

constexpr Question questions[] = {
    {"getpid", SYS_getpid, 0, {}},
    {"getppid", SYS_getppid, 0, {}},
    {"gettid", SYS_gettid, 0, {}},
    {"geteuid", SYS_geteuid, 0, {}},
    {"getegid", SYS_getegid, 0, {}},
    {"clock_gettime", SYS_clock_gettime, EFAULT, {CLOCK_MONOTONIC}},
    {"umask", SYS_umask, 0, {077}},
    {"brk", SYS_brk, 0, {}}, // libc takes other memory then, where cells must have theirs
    {"munmap", SYS_munmap, EINVAL, {}},
    {"rt_sigprocmask", SYS_rt_sigprocmask, 0, {SIG_BLOCK, 0, 0, 8}}, // nss-systemd aborts without it
    {"kill", SYS_kill, 0, {0, 0}}, // else no listener that is silent could be replaced
    {"recvmsg", SYS_recvmsg, EBADF, {-1}},
    {"bind", SYS_bind, EBADF, {-1}},             // Landlock is tried with it
    {"getsockopt", SYS_getsockopt, EBADF, {-1}}, // else a passed socket would be none
#ifdef SYS_poll
    {"poll", SYS_poll, 0, {}},
#endif
};

} // namespace

void expect_kernel_answers() {
    expect_write();
    for (const auto& [call, number, answer, a] : questions) {
        if (syscall(number, a[0], a[1], a[2], a[3]) < 0 && errno != answer) {
            die(ExitCode::SystemCall, "%s: %s", call, error_text(errno));
        }
    }
    expect_exit_group();
}

} // namespace cloister
