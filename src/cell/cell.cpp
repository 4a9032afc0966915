// SPDX-License-Identifier: MIT
// A cell's whole life, freestanding: it has no libc, no thread-local storage and no memory but this code and
// its arena. So: no calls out, no constants in .rodata, no stack protector (CMakeLists.txt).
//
// A newborn has two pages of code (cell.ld). The first is the ladder: the code of birth, and at its end the
// one instruction that may make the calls of birth. The last of these unmaps that page, and returns to the
// start of the second, the loop. From no instruction there does the filter allow more than five calls.
#include "cell/cell.h"

#include <cerrno>
#include <csignal>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define CELL_CODE [[gnu::section(".cell.loop"), gnu::used]]
#define BIRTH_CODE [[gnu::section(".cell.birth"), gnu::noinline]]
#define INLINE [[gnu::always_inline]] inline

namespace cloister::cell {
namespace {

constexpr int connection = 0; // the listener keeps descriptor 0 free, so that accept4 returns it
constexpr int tries_of_empty_send = 16;

INLINE long address(const void* pointer) {
    return reinterpret_cast<long>(pointer);
}

/// One place to leave from: the fewer system call instructions a cell has, the fewer there are to jump to.
CELL_CODE [[noreturn, gnu::noinline]] void leave(Exit code) {
    for (;;) {
        sys::directly(SYS_exit_group, static_cast<long>(code));
    }
}

CELL_CODE [[noreturn, gnu::noinline]] void close_and_leave(Exit code) {
    sys::directly(SYS_close, connection); // never repeated: close(2)
    leave(code);
}

/// The end that an error of recv or send means; `timeout` is what EAGAIN means.
INLINE Exit end_of(long error, Exit timeout) {
    constexpr long last_errno = 4095; // MAX_ERRNO, include/linux/err.h
    if (error == -EAGAIN) {
        return timeout; // SO_RCVTIMEO, SO_SNDTIMEO: socket(7)
    }
    if (error == -ENOMEM || error == -ENOBUFS) {
        return Exit::Resources;
    }
    const bool impossible = error < -last_errno || error == -EBADF || error == -EFAULT || error == -EINVAL ||
                            error == -ENOTSOCK || error == -EOPNOTSUPP;
    return impossible ? Exit::Bug : Exit::Reset;
}

/// The end of a newborn that can't be confined. Only through the ladder does the filter allow these codes: no
/// cell that reads can claim them.
BIRTH_CODE [[noreturn]] void fail_birth(Exit step) {
    for (;;) {
        sys::through_ladder(SYS_exit_group, static_cast<long>(step));
    }
}

INLINE void must(bool done, Exit step) {
    if (!done) {
        fail_birth(step);
    }
}

/// What must be true before the first byte (policy/birth.policy). Closing may sleep: limits come before it.
BIRTH_CODE void be_born(const Orders& orders) {
    using sys::through_ladder;
    must(through_ladder(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0, Exit::DeathSignal);
    // It may have died before we asked to be told: prctl(2).
    must(through_ladder(SYS_getppid) == orders.listener, Exit::Orphan);
    const rlimit64 cpu = orders.cpu_limit();
    must(through_ladder(SYS_prlimit64, 0, RLIMIT_CPU, address(&cpu), 0) == 0, Exit::CpuLimit);
    const itimerval lifetime = orders.lifetime_limit();
    must(through_ladder(SYS_setitimer, ITIMER_REAL, address(&lifetime), 0) == 0, Exit::Lifetime);
    must(orders.duty == Duty::Release || through_ladder(SYS_close_range, 1, ~0U, 0) == 0, Exit::Descriptors);
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    const __user_cap_data_struct none[2]{}; // capget(2)
    must(through_ladder(SYS_capset, address(&header), address(none)) == 0, Exit::Capabilities);
}

/// Unmaps the page that ends with the ladder's instruction. It stands at the front of its mapping, which is
/// trimmed. If that is refused, it is still there to fail from.
INLINE void pull_up_ladder() {
    constexpr long size = arch::max_page_size;
    const long end = address(cloister_ladder) + arch::system_call_size;
    must(sys::through_ladder(SYS_munmap, end - size, size) == 0, Exit::Ladder);
}

/// Tries what only the filter, or a missing page, can stop.
[[noreturn]] INLINE void violate(Duty duty) {
    constexpr long number = SYS_getppid; // harmless anywhere
    if (duty == Duty::Call) {
        sys::directly(number);
    } else {
        arch::call_at(static_cast<std::uintptr_t>(duty), number);
    }
    leave(Exit::Bug);
}

/// Returns in a cell that is confined and shall serve, and in no other.
INLINE void confine(const Orders& orders) {
    be_born(orders);
    pull_up_ladder();
    if (orders.duty == Duty::Release) {
        close_and_leave(Exit::Done); // it may sleep there: src/listener/release.cpp
    }
    if (orders.duty != Duty::Serve) {
        violate(orders.duty);
    }
}

/// Sends what is in the buffer. The filter allows one address only, its start: what is left moves there.
INLINE void send_all(std::uint8_t* buffer, long size) {
    int empty = 0;
    while (size > 0) {
        const long sent = sys::directly(SYS_sendto, connection, address(buffer), size, MSG_NOSIGNAL, 0, 0);
        if (sent == -EINTR) {
            continue;
        }
        if (sent < 0) { // TCP_USER_TIMEOUT runs against a closed window, too: tcp(7)
            leave(sent == -ETIMEDOUT ? Exit::Stalled : end_of(sent, Exit::Stalled));
        }
        if (sent > size) {
            leave(Exit::Bug);
        }
        if (sent == 0 && ++empty == tries_of_empty_send) {
            leave(Exit::Resources);
        }
        size -= sent;
        if (sent > 0 && size > 0) {
            arch::move_down(buffer, buffer + sent, size);
        }
    }
}

[[noreturn]] INLINE void echo(std::uint8_t* buffer) {
    for (;;) {
        const long received = sys::directly(SYS_recvfrom, connection, address(buffer), buffer_size, 0, 0, 0);
        if (received == -EINTR) { // a stop and continue, even without a handler: signal(7)
            continue;
        }
        if (received < 0) {
            leave(end_of(received, Exit::Idle));
        }
        if (received > static_cast<long>(buffer_size)) {
            leave(Exit::Bug);
        }
        if (received == 0) {
            // ENOTCONN: reset since then, which recv does not tell.
            const long shut = sys::directly(SYS_shutdown, connection, SHUT_WR);
            close_and_leave(shut == 0 ? Exit::Done : end_of(shut, Exit::Reset));
        }
        send_all(buffer, received);
    }
}

} // namespace

extern "C" CELL_CODE void cloister_cell_main(const Orders* orders, std::uint8_t* buffer) {
    confine(*orders);
    echo(buffer);
}

} // namespace cloister::cell
