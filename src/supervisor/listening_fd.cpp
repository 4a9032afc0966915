// SPDX-License-Identifier: MIT
#include "supervisor/listening_fd.h"

#include "syscall/passrights.h"

#include <csignal>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

namespace cloister::supervisor {
namespace {

bool is_tcp(int fd) {
    int family = 0;
    socklen_t length = sizeof family;
    return ::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &length) == 0 &&
           (family == AF_INET || family == AF_INET6);
}

constexpr int usually_ms = 20;

/// SIGALRM is not blocked in us, and has its default action.
void close_in_child(int fd) {
    const pid_t parent = ::getpid();
    // As fork(2), but for CLONE_FILES; libc has no wrapper that returns in the child.
    const long pid = ::syscall(SYS_clone, CLONE_FILES | SIGCHLD, nullptr, nullptr, nullptr, nullptr);
    if (pid == 0) {
        constexpr itimerval one_second{{}, {1, 0}};
        if (::prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && ::getppid() == parent &&
            ::setitimer(ITIMER_REAL, &one_second, nullptr) == 0) {
            ::close(fd);
        }
        ::_exit(0);
    }
    // Usually it has closed at once, and we go on when the path is free and clients are refused.
    pollfd ended{pid < 0 ? -1 : static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)), POLLIN, 0};
    if (ended.fd >= 0) {
        (void)::poll(&ended, 1, usually_ms);
        ::close(ended.fd);
    }
}

} // namespace

void close_listening(int fd) {
    if (is_tcp(fd)) {
        ::close(fd);
    } else {
        close_in_child(fd);
    }
}

void close_control(int fd) {
    int rights = 1;
    socklen_t length = sizeof rights;
    if (::getsockopt(fd, SOL_SOCKET, so_passrights, &rights, &length) == 0 && rights == 0) {
        ::close(fd);
    } else {
        close_in_child(fd);
    }
}

} // namespace cloister::supervisor
