// SPDX-License-Identifier: MIT
#include "base/kernel_answers.h"

#include "base/die.h"

#include <cerrno>
#include <ctime>
#include <sys/syscall.h>
#include <unistd.h>

namespace cloister {

void expect_kernel_answers() {
    timespec time{};
    const auto expect = [](const char* call, long result) {
        if (result < 0) {
            die(ExitCode::SystemCall, "%s: %s", call, error_text(errno));
        }
    };
    expect("getpid", syscall(SYS_getpid));
    expect("getppid", syscall(SYS_getppid));
    expect("gettid", syscall(SYS_gettid));
    expect("geteuid", syscall(SYS_geteuid));
    expect("getegid", syscall(SYS_getegid));
    expect("clock_gettime", syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &time));
    expect("umask", syscall(SYS_umask, 077));
    expect("brk", syscall(SYS_brk, 0)); // libc takes other memory then, where cells must have theirs
}

} // namespace cloister
