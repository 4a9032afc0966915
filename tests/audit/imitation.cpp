// SPDX-License-Identifier: MIT
#include "imitation.h"

#include "live/harness.h"

#include <cap-ng.h>
#include <csignal>
#include <cstdint>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdexcept>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace cloister::audit {
namespace {

constexpr int report = 100; // closed when a process is as it shall be

void require(bool yes) {
    if (!yes) {
        _exit(1);
    }
}

void filter() {
    sock_filter all[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    const sock_fprog program{1, all};
    require(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0);
}

void keep_only(int descriptor, int at) {
    require(descriptor < 0 || descriptor == at || dup2(descriptor, at) == at);
}

/// Unprivileged, as one of the family, and then asleep.
[[noreturn]] void confine_and_wait(Flaw flaw, bool filtered) {
    constexpr unsigned id = live::daemon_id;
    for (int number = 1; number < NSIG; ++number) {
        (void)std::signal(number, SIG_DFL);
    }
    if (flaw == Flaw::handled_signal) {
        (void)std::signal(SIGUSR1, [](int) {});
    }
    if (flaw == Flaw::writable_code) {
        require(mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
                MAP_FAILED);
    }
    if (filtered && flaw != Flaw::no_filter) { // while CAP_SYS_ADMIN allows it
        filter();
    }
    if (flaw == Flaw::extra_filter) {
        filter();
    }
    capng_clear(CAPNG_SELECT_ALL);
    if (flaw == Flaw::capability) {
        require(capng_update(CAPNG_ADD, static_cast<capng_type_t>(CAPNG_EFFECTIVE | CAPNG_PERMITTED),
                             CAP_NET_RAW) == 0);
    }
    const int group = static_cast<int>(flaw == Flaw::group ? id + 1 : id);
    require(capng_change_id(static_cast<int>(id), group,
                            static_cast<capng_flags_t>(CAPNG_DROP_SUPP_GRP | CAPNG_CLEAR_BOUNDING |
                                                       CAPNG_CLEAR_AMBIENT)) == 0);
    require(flaw == Flaw::new_privileges || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    require(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0);
    // libc has one, by which it changes the user of all threads.
    constexpr int of_libc = 33;
    const std::uint64_t by_default[4] = {}; // the kernel's struct sigaction
    require(syscall(SYS_rt_sigaction, of_libc, by_default, nullptr, 8) == 0);
    close(report);
    for (;;) {
        pause();
    }
}

[[noreturn]] void be_cell(Flaw flaw) {
    if (flaw == Flaw::child) {
        const pid_t cell = getpid();
        if (const pid_t child = fork(); child == 0) {
            // Of the cell's user: a parent without privileges cannot signal root's child as it dies
            // (kernel/signal.c).
            require(setresuid(live::daemon_id, live::daemon_id, live::daemon_id) == 0);
            require(prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0);
            require(getppid() == cell); // else it has ended before
            close(report);
            for (;;) {
                pause();
            }
        }
    }
    keep_only(socket(AF_UNIX, SOCK_STREAM, 0), 0);
    if (flaw == Flaw::descriptor) {
        keep_only(open("/etc/passwd", O_RDONLY), 7);
    }
    require(close_range(1, 6, 0) == 0 && close_range(8, report - 1, 0) == 0);
    require(flaw == Flaw::descriptor || close_range(7, 7, 0) == 0);
    confine_and_wait(flaw, true);
}

[[noreturn]] void be_listener(Flaw flaw) {
    require(prctl(PR_SET_NAME, "cloister-listen") == 0);
    if (fork() == 0) {
        be_cell(flaw);
    }
    sigset_t none;
    sigemptyset(&none);
    int ends[2];
    require(pipe(ends) == 0 && dup2(ends[1], 60) == 60);
    keep_only(signalfd(-1, &none, 0), 61);
    keep_only(socket(AF_UNIX, SOCK_SEQPACKET, 0), 62);
    require(dup2(61, 1) == 1 && dup2(60, 2) == 2 && dup2(62, 3) == 3);
    close(0);
    require(close_range(4, report - 1, 0) == 0);
    confine_and_wait(Flaw::none, true);
}

} // namespace

Imitation::Imitation(Flaw flaw) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        throw std::runtime_error{"no pipe"};
    }
    supervisor_ = fork();
    if (supervisor_ == 0) {
        require(dup2(ends[1], report) == report && close_range(3, report - 1, 0) == 0);
        require(close_range(report + 1, ~0U, 0) == 0 && prctl(PR_SET_NAME, "cloisterd") == 0);
        if (fork() == 0) {
            be_listener(flaw);
        }
        confine_and_wait(Flaw::none, false);
    }
    close(ends[1]);
    char byte = 0;
    const auto got = read(ends[0], &byte, 1); // the end: all of them have closed it
    close(ends[0]);
    if (supervisor_ < 0 || got != 0 || !live::is_alive(supervisor_)) {
        throw std::runtime_error{"the imitated processes cannot be made"};
    }
}

Imitation::~Imitation() {
    kill(supervisor_, SIGKILL); // the others die with it
    waitpid(supervisor_, nullptr, 0);
}

} // namespace cloister::audit
