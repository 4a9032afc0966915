// SPDX-License-Identifier: MIT
#include "base/kernel_answers.h"

#include "base/die.h"

#include <cerrno>
#include <ctime>
#include <string>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

namespace cloister {

namespace {

/// die() needs write(2) and exit_group(2). writev(2) and exit(2), which libc uses then, may be allowed.
[[noreturn]] void end_without(const char* call, int error) {
    std::string text = std::string{program_invocation_short_name} + ": " + call + ": " + error_text(error);
    text.append("; ").append(missing_cure(text)).append("\n");
    const iovec part{text.data(), text.size()};
    [[maybe_unused]] const ssize_t written = writev(STDERR_FILENO, &part, 1);
    _exit(static_cast<int>(ExitCode::SystemCall));
}

void expect_write() {
    if (syscall(SYS_write, STDERR_FILENO, nullptr, 0) < 0 && (errno == EPERM || errno == ENOSYS)) {
        end_without("write", errno); // whether standard error is open is asked later
    }
}

/// Cells have no other call to end with: they would run on, and use their CPU time.
void expect_exit_group() {
    const pid_t child = fork();
    if (child < 0) {
        die(ExitCode::SystemCall, "cannot try whether a process can end: fork (clone): %s",
            error_text(errno));
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

} // namespace

void expect_kernel_answers() {
    timespec time{};
    const auto expect = [](const char* call, long result) {
        if (result < 0) {
            die(ExitCode::SystemCall, "%s: %s", call, error_text(errno));
        }
    };
    expect_write();
    expect("getpid", syscall(SYS_getpid));
    expect("getppid", syscall(SYS_getppid));
    expect("gettid", syscall(SYS_gettid));
    expect("geteuid", syscall(SYS_geteuid));
    expect("getegid", syscall(SYS_getegid));
    expect("clock_gettime", syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &time));
    expect("umask", syscall(SYS_umask, 077));
    expect_exit_group();
    expect("brk", syscall(SYS_brk, 0)); // libc takes other memory then, where cells must have theirs
}

} // namespace cloister
