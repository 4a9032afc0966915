// SPDX-License-Identifier: MIT
#pragma once

#include "sys/raw.h"

#include <linux/filter.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

/// Typed system calls over raw(). Each returns what the kernel returns: a negated errno on failure. Named as
/// in section 2 of the manual; arguments that policy/*.policy pins to one value are not parameters here.
namespace cloister::sys {

#define CLOISTER_CALL [[gnu::always_inline]] inline

CLOISTER_CALL long address(const volatile void* pointer) {
    return reinterpret_cast<long>(pointer);
}

[[noreturn]] CLOISTER_CALL void exit_group(int code) {
    for (;;) {
        raw(SYS_exit_group, code);
    }
}

// What a cell does.

CLOISTER_CALL long recv(int fd, void* buffer, long size) {
    return raw(SYS_recvfrom, fd, address(buffer), size, 0, 0, 0);
}
CLOISTER_CALL long send(int fd, const void* buffer, long size) {
    return raw(SYS_sendto, fd, address(buffer), size, MSG_NOSIGNAL, 0, 0);
}
CLOISTER_CALL long shutdown(int fd, int how) {
    return raw(SYS_shutdown, fd, how);
}
CLOISTER_CALL long close(int fd) {
    return raw(SYS_close, fd);
}

// What a newborn cell does before its filter.

CLOISTER_CALL long close_range(unsigned first, unsigned last) {
    return raw(SYS_close_range, first, last, 0);
}
CLOISTER_CALL long prctl(long option, long value) {
    return raw(SYS_prctl, option, value, 0, 0, 0);
}
CLOISTER_CALL long getppid() {
    return raw(SYS_getppid);
}
CLOISTER_CALL long setrlimit(int resource, const rlimit64* limit) {
    return raw(SYS_prlimit64, 0, resource, address(limit), 0);
}
CLOISTER_CALL long setitimer(int which, const itimerval* value) {
    return raw(SYS_setitimer, which, address(value), 0);
}
CLOISTER_CALL long capset(const void* header, const void* data) {
    return raw(SYS_capset, address(header), address(data));
}
CLOISTER_CALL long seccomp(unsigned operation, unsigned flags, const void* program) {
    return raw(SYS_seccomp, operation, flags, address(program));
}

// What the listener does.

CLOISTER_CALL long ppoll(pollfd* fds, unsigned count, timespec* timeout) {
    return raw(SYS_ppoll, address(fds), count, address(timeout), 0, 0);
}
CLOISTER_CALL long accept(int fd, sockaddr* peer, socklen_t* length) {
    return raw(SYS_accept4, fd, address(peer), address(length), 0);
}
CLOISTER_CALL long getsockopt(int fd, int level, int name, void* value, socklen_t* length) {
    return raw(SYS_getsockopt, fd, level, name, address(value), address(length));
}
CLOISTER_CALL long setsockopt(int fd, int level, int name, const void* value, socklen_t length) {
    return raw(SYS_setsockopt, fd, level, name, address(value), length);
}
CLOISTER_CALL long clock_gettime(clockid_t clock, timespec* now) {
    return raw(SYS_clock_gettime, clock, address(now));
}
CLOISTER_CALL long sigtimedwait(const unsigned long* set, siginfo_t* info, const timespec* timeout) {
    return raw(SYS_rt_sigtimedwait, address(set), address(info), address(timeout), sizeof *set);
}
CLOISTER_CALL long wait4(pid_t pid, int* status, int options, rusage* usage) {
    return raw(SYS_wait4, pid, address(status), options, address(usage));
}
CLOISTER_CALL long tgkill(pid_t process, pid_t thread, int signal) {
    return raw(SYS_tgkill, process, thread, signal);
}
CLOISTER_CALL long read(int fd, void* buffer, long size) {
    return raw(SYS_read, fd, address(buffer), size);
}
CLOISTER_CALL long pread(int fd, void* buffer, long size) {
    return raw(SYS_pread64, fd, address(buffer), size, 0);
}
CLOISTER_CALL long write(int fd, const void* buffer, long size) {
    return raw(SYS_write, fd, address(buffer), size);
}

#undef CLOISTER_CALL

} // namespace cloister::sys
