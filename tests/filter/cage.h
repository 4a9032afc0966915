// SPDX-License-Identifier: MIT
#pragma once

#include "policy/combine.h"
#include "sites.h"

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <linux/seccomp.h>
#include <stdexcept>
#include <string>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

/// Calls made for real, each in a process of its own that has a deadline, under the filter of production.
namespace cloister::live {

inline constexpr policy::Abi native_abi = policy::abi_of(policy::native_arch);

/// How the process of an attempt ended.
struct Outcome {
    int status; ///< as of wait(2)
    [[nodiscard]] bool killed_by(int signal) const {
        return WIFSIGNALED(status) && WTERMSIG(status) == signal;
    }
    [[nodiscard]] bool exited() const { return WIFEXITED(status); }
};

/// How a process ends that could not be made ready for its call. No attempt leaves with that.
constexpr int unprepared = 111;

/// Forks; the child has a connection at descriptor 0 whose client is done, `prepare`s itself, makes the call
/// and leaves with 0 if it comes back. One that `waits` has a shorter deadline. Throws if it did not come to
/// the call: its end would say nothing.
template <typename Prepare>
Outcome in_child(const Attempt& attempt, Site site, Prepare prepare, bool waits = false) {
    constexpr time_t deadline_s = 5;
    constexpr suseconds_t short_deadline_us = 50'000;
    const pid_t pid = fork();
    if (pid < 0) {
        throw std::runtime_error{"fork"};
    }
    if (pid == 0) {
        int ends[2];
        const itimerval deadline{{},
                                 {waits ? 0 : deadline_s, short_deadline_us}}; // by default SIGALRM ends it
        (void)setitimer(ITIMER_REAL, &deadline, nullptr);
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0 || dup2(ends[0], 0) != 0 ||
            shutdown(ends[1], SHUT_WR) != 0) {
            _exit(unprepared);
        }
        prepare();
        (void)make(attempt, site);
        sys::cell_call(SYS_exit_group, 0);
    }
    Outcome outcome{};
    if (waitpid(pid, &outcome.status, 0) != pid) {
        throw std::runtime_error{"waitpid"};
    }
    if (outcome.exited() && WEXITSTATUS(outcome.status) == unprepared) {
        throw std::runtime_error{"a process could not be prepared for its call"};
    }
    return outcome;
}

inline void install(const policy::Program& program) {
    const sock_fprog filter{static_cast<unsigned short>(program.size()),
                            const_cast<sock_filter*>(program.data())};
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) != 0) {
        _exit(unprepared);
    }
}

inline seccomp_data as_data(const Attempt& attempt, Site site) {
    seccomp_data data{};
    data.instruction_pointer = return_address(site);
    data.nr = static_cast<int>(attempt.number);
    data.arch = policy::audit_arch(native_abi);
    for (std::size_t i = 0; i < attempt.arguments.size(); ++i) {
        data.args[i] = attempt.arguments[i];
    }
    return data;
}

} // namespace cloister::live
