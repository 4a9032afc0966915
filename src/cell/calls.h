// SPDX-License-Identifier: MIT
#pragma once

#include "sys/raw.h"

#include <csignal>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>

/// A cell's typed system calls: all that it makes. Each returns what the kernel returns.
namespace cloister::cell::call {

#define CELL_CALL [[gnu::always_inline]] inline

CELL_CALL long address(const void* pointer) {
    return reinterpret_cast<long>(pointer);
}

// policy/birth.policy: from the ladder's instruction only.

CELL_CALL long close_range(unsigned first, unsigned last) {
    return sys::through_ladder(SYS_close_range, first, last, 0);
}
CELL_CALL long die_with_parent() {
    return sys::through_ladder(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
}
CELL_CALL long getppid() {
    return sys::through_ladder(SYS_getppid);
}
CELL_CALL long limit_cpu(const rlimit64* limit) {
    return sys::through_ladder(SYS_prlimit64, 0, RLIMIT_CPU, address(limit), 0);
}
CELL_CALL long limit_lifetime(const itimerval* value) {
    return sys::through_ladder(SYS_setitimer, ITIMER_REAL, address(value), 0);
}
CELL_CALL long capset(const void* header, const void* data) {
    return sys::through_ladder(SYS_capset, address(header), address(data));
}
CELL_CALL long munmap(const void* start, long size) {
    return sys::through_ladder(SYS_munmap, address(start), size);
}

// policy/connection.policy: from anywhere.

CELL_CALL long recv(int fd, void* buffer, long size) {
    return sys::directly(SYS_recvfrom, fd, address(buffer), size, 0, 0, 0);
}
CELL_CALL long send(int fd, const void* buffer, long size) {
    return sys::directly(SYS_sendto, fd, address(buffer), size, MSG_NOSIGNAL, 0, 0);
}
CELL_CALL long shutdown(int fd, int how) {
    return sys::directly(SYS_shutdown, fd, how);
}
CELL_CALL long close(int fd) {
    return sys::directly(SYS_close, fd);
}
[[noreturn]] CELL_CALL void exit_group(int code) {
    for (;;) {
        sys::directly(SYS_exit_group, code);
    }
}

/// For a violator: runs the system call instruction at `instruction`, with a call that is harmless anywhere.
CELL_CALL void jump_to(const void* instruction) {
    long number = SYS_getppid;
    asm volatile("call *%1" : "+a"(number) : "r"(instruction) : "rcx", "r11", "memory");
}

#undef CELL_CALL

} // namespace cloister::cell::call
