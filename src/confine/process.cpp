// SPDX-License-Identifier: MIT
#include "confine/confine.h"

#include "sys/die.h"

#include <cerrno>
#include <csignal>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace cloister::confine {
namespace {

rlimit limit_of(int resource) {
    rlimit limit{};
    if (getrlimit(static_cast<__rlimit_resource>(resource), &limit) != 0) {
        die(ExitCode::SystemCall, "getrlimit(%d): %s", resource, error_text(errno));
    }
    return limit;
}

void set_limit(int resource, const char* name, rlimit limit) {
    if (setrlimit(static_cast<__rlimit_resource>(resource), &limit) != 0) {
        die(ExitCode::NotPermitted, "cannot set %s to %lu: setrlimit: %s", name, limit.rlim_cur,
            error_text(errno));
    }
    const rlimit is = limit_of(resource);
    if (is.rlim_cur != limit.rlim_cur || is.rlim_max != limit.rlim_max) {
        die(ExitCode::SelfTest, "asked for %s %lu, the kernel has %lu", name, limit.rlim_cur, is.rlim_cur);
    }
}

void raise_limit(int resource, const char* name) {
    const rlim_t hard = limit_of(resource).rlim_max;
    set_limit(resource, name, {hard, hard});
}

} // namespace

void reset_signals(std::uint64_t blocked) {
    // The kernel's own structure (linux/signal.h): libc hides 32 and 33, which posix_spawn(3) can leave
    // ignored.
    struct {
        std::uint64_t handler, flags, restorer, mask;
    } constexpr by_default{}, * const none = nullptr;
    for (int number = 1; number < NSIG; ++number) {
        auto is = by_default;
        if (number != SIGKILL && number != SIGSTOP &&
            (syscall(SYS_rt_sigaction, number, &by_default, none, sizeof is.mask) != 0 ||
             syscall(SYS_rt_sigaction, number, none, &is, sizeof is.mask) != 0 || is.handler != 0)) {
            die(ExitCode::SelfTest, "cannot give signal %d its default action: %s", number,
                error_text(errno));
        }
    }
    std::uint64_t mask = 0;
    if (syscall(SYS_rt_sigprocmask, SIG_SETMASK, &blocked, nullptr, sizeof blocked) != 0 ||
        syscall(SYS_rt_sigprocmask, SIG_SETMASK, nullptr, &mask, sizeof mask) != 0 || mask != blocked) {
        die(ExitCode::SelfTest, "asked to block signals %#lx, the kernel blocks %#lx", blocked, mask);
    }
}

void forbid_new_privileges() {
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) {
        die(ExitCode::SelfTest, "asked for no_new_privs, the kernel did not set it: %s", error_text(errno));
    }
}

void forbid_dumping() {
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 || prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0) {
        die(ExitCode::SelfTest, "asked not to be dumpable, the kernel did not set it: %s", error_text(errno));
    }
}

void die_with_parent(pid_t parent) {
    int signal = 0;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0 || prctl(PR_GET_PDEATHSIG, &signal, 0, 0, 0) != 0 ||
        signal != SIGKILL) {
        die(ExitCode::SelfTest, "asked to end with our parent, the kernel did not set it: %s",
            error_text(errno));
    }
    if (getppid() != parent) { // it ended before we asked
        die(ExitCode::SelfTest, "our parent, process %d, has ended", parent);
    }
}

void limit_resources(unsigned descriptors) {
    raise_limit(RLIMIT_NPROC, "RLIMIT_NPROC");
    raise_limit(RLIMIT_SIGPENDING, "RLIMIT_SIGPENDING");
    set_limit(RLIMIT_CORE, "RLIMIT_CORE", {0, 0});
    set_limit(RLIMIT_MEMLOCK, "RLIMIT_MEMLOCK", {0, 0});
    set_limit(RLIMIT_NOFILE, "RLIMIT_NOFILE", {descriptors, descriptors});
}

void install_filter(std::span<const sock_filter> program) {
    const sock_fprog filter{static_cast<unsigned short>(program.size()),
                            const_cast<sock_filter*>(program.data())};
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) != 0) {
        die(ExitCode::NotPermitted,
            "cannot install the seccomp filter: %s; the kernel needs CONFIG_SECCOMP_FILTER, and a container "
            "or service "
            "manager must allow the call seccomp",
            error_text(errno));
    }
}

} // namespace cloister::confine
