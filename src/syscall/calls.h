// SPDX-License-Identifier: MIT
#pragma once

#include "syscall/raw.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

/// The listener's typed system calls, all of them through the listener call site. Each returns what the
/// kernel returns: a negated errno on failure. Named as in section 2 of the manual; arguments that
/// policy/*.policy pins to one value are not parameters here.
namespace cloister::sys {

#define CLOISTER_CALL [[gnu::always_inline]] inline

CLOISTER_CALL long address(const volatile void* pointer) {
    return reinterpret_cast<long>(pointer);
}

[[noreturn]] CLOISTER_CALL void exit_group(int code) {
    for (;;) {
        listener_call(SYS_exit_group, code);
    }
}
CLOISTER_CALL long close(int fd) {
    return listener_call(SYS_close, fd);
}
CLOISTER_CALL long ppoll(pollfd* fds, unsigned count, timespec* timeout) {
    return listener_call(SYS_ppoll, address(fds), count, address(timeout), 0, 0);
}
CLOISTER_CALL long accept(int fd, sockaddr* peer, socklen_t* length) {
    return listener_call(SYS_accept4, fd, address(peer), address(length), 0);
}
CLOISTER_CALL long getsockname(int fd, sockaddr* address_of, socklen_t* length) {
    return listener_call(SYS_getsockname, fd, address(address_of), address(length));
}
CLOISTER_CALL long getsockopt(int fd, int level, int name, void* value, socklen_t* length) {
    return listener_call(SYS_getsockopt, fd, level, name, address(value), address(length));
}
CLOISTER_CALL long setsockopt(int fd, int level, int name, const void* value, socklen_t length) {
    return listener_call(SYS_setsockopt, fd, level, name, address(value), length);
}
CLOISTER_CALL long dup_to_lowest(int fd) { // the lowest descriptor that is free: fcntl(2)
    return listener_call(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 0);
}
CLOISTER_CALL long clock_gettime(clockid_t clock, timespec* now) {
    return listener_call(SYS_clock_gettime, clock, address(now));
}
CLOISTER_CALL long sigtimedwait(const unsigned long* set, siginfo_t* info, const timespec* timeout) {
    return listener_call(SYS_rt_sigtimedwait, address(set), address(info), address(timeout), sizeof *set);
}
CLOISTER_CALL long wait4(pid_t pid, int* status, int options, rusage* usage) {
    return listener_call(SYS_wait4, pid, address(status), options, address(usage));
}
CLOISTER_CALL long tgkill(pid_t process, pid_t thread, int signal) {
    return listener_call(SYS_tgkill, process, thread, signal);
}
CLOISTER_CALL long read(int fd, void* buffer, long size) {
    return listener_call(SYS_read, fd, address(buffer), size);
}
CLOISTER_CALL long pread(int fd, void* buffer, long size) {
    return listener_call(SYS_pread64, fd, address(buffer), size, 0);
}
CLOISTER_CALL long write(int fd, const void* buffer, long size) {
    return listener_call(SYS_write, fd, address(buffer), size);
}

#undef CLOISTER_CALL

} // namespace cloister::sys
