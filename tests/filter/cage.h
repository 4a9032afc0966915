// SPDX-License-Identifier: MIT
#pragma once

#include "policy/compile.h"
#include "policy/evaluate.h"
#include "sys/raw.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <linux/seccomp.h>
#include <stdexcept>
#include <string>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/// Calls made for real, each in a process of its own that has a deadline, under the filters of production.
namespace cloister::live {

struct Attempt {
    long number;
    std::array<std::uint64_t, 6> arguments{};
};

/// How the process of an attempt ended.
struct Outcome {
    int status; ///< as of wait(2)
    [[nodiscard]] bool killed_by(int signal) const {
        return WIFSIGNALED(status) && WTERMSIG(status) == signal;
    }
    [[nodiscard]] bool exited() const { return WIFEXITED(status); }
};

/// `ia32`: by int $0x80, the system call instruction of 32-bit programs.
inline long make(const Attempt& attempt, bool ia32) {
    const auto argument = [&](std::size_t i) { return static_cast<long>(attempt.arguments[i]); };
    if (ia32) {
        long result = attempt.number;
        asm volatile("int $0x80"
                     : "+a"(result)
                     : "b"(0L), "c"(0L), "d"(0L), "S"(0L), "D"(0L)
                     : "memory", "r8", "r9", "r10", "r11");
        return result;
    }
    return sys::raw(attempt.number, argument(0), argument(1), argument(2), argument(3), argument(4),
                    argument(5));
}

/// Forks; the child has a connection at descriptor 0 whose client is done, `prepare`s itself, makes the call
/// and leaves with 0 if it comes back.
template <typename Prepare>
Outcome in_child(const Attempt& attempt, bool ia32, Prepare prepare) {
    constexpr unsigned deadline_s = 5;
    const pid_t pid = fork();
    if (pid < 0) {
        throw std::runtime_error{"fork"};
    }
    if (pid == 0) {
        int ends[2];
        alarm(deadline_s); // SIGALRM by default ends it
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0 || dup2(ends[0], 0) != 0 ||
            shutdown(ends[1], SHUT_WR) != 0) {
            _exit(111);
        }
        prepare();
        (void)make(attempt, ia32);
        sys::raw(SYS_exit_group, 0);
    }
    Outcome outcome{};
    if (waitpid(pid, &outcome.status, 0) != pid) {
        throw std::runtime_error{"waitpid"};
    }
    return outcome;
}

inline void install(const policy::Program& program) {
    const sock_fprog filter{static_cast<unsigned short>(program.size()),
                            const_cast<sock_filter*>(program.data())};
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) != 0) {
        _exit(112);
    }
}

inline seccomp_data as_data(const Attempt& attempt) {
    seccomp_data data{};
    data.nr = static_cast<int>(attempt.number);
    data.arch = policy::audit_arch(policy::Abi::x86_64);
    for (std::size_t i = 0; i < attempt.arguments.size(); ++i) {
        data.args[i] = attempt.arguments[i];
    }
    return data;
}

} // namespace cloister::live
