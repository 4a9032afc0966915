// SPDX-License-Identifier: MIT
// A cell's whole life, freestanding: it has no libc, no thread-local storage and no memory but this code and
// its arena. So: no calls out, no constants in .rodata, no stack protector (CMakeLists.txt).
//
// A newborn has two pages of code (cell.ld). The first is the setup page: the code of setup and, at its end,
// the setup call site. The last call from there unmaps that page and returns to the start of the second, the
// loop, where the filter allows no instruction more than five calls.
#include "cell/cell.h"

#include <cerrno>
#include <csignal>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define CELL_CODE [[gnu::section(".cell.loop"), gnu::used]]
#define SETUP_CODE [[gnu::section(".cell.setup"), gnu::noinline]]
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
        sys::cell_call(SYS_exit_group, static_cast<long>(code));
    }
}

CELL_CODE [[noreturn, gnu::noinline]] void close_and_leave(Exit code) {
    sys::cell_call(SYS_close, connection); // never repeated: close(2)
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

/// The end of a newborn that can't be confined. Only through the setup call site does the filter allow these
/// codes: no cell that reads can claim them.
SETUP_CODE [[noreturn]] void fail_setup(Exit step) {
    for (;;) {
        sys::setup_call(SYS_exit_group, static_cast<long>(step));
    }
}

INLINE void must(bool done, Exit step) {
    if (!done) {
        fail_setup(step);
    }
}

/// What must be true before the first byte (policy/setup.policy). Closing may sleep: limits come before it.
SETUP_CODE void set_up(const Parameters& parameters) {
    using sys::setup_call;
    must(setup_call(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0, Exit::DeathSignal);
    // It may have died before we asked to be told: prctl(2).
    must(setup_call(SYS_getppid) == parameters.listener, Exit::Orphan);
    const rlimit64 cpu = parameters.cpu_limit();
    must(setup_call(SYS_prlimit64, 0, RLIMIT_CPU, address(&cpu), 0) == 0, Exit::CpuLimit);
    const itimerval lifetime = parameters.lifetime_limit();
    must(setup_call(SYS_setitimer, ITIMER_REAL, address(&lifetime), 0) == 0, Exit::Lifetime);
    must(parameters.mode == Mode::Release || setup_call(SYS_close_range, 1, ~0U, 0) == 0, Exit::Descriptors);
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    const __user_cap_data_struct none[2]{}; // capget(2)
    must(setup_call(SYS_capset, address(&header), address(none)) == 0, Exit::Capabilities);
}

/// Unmaps the page that ends with the setup call site. It stands at the front of its mapping, which is
/// trimmed. If that is refused, it is still there to fail from.
INLINE void unmap_setup_page() {
    constexpr long size = arch::max_page_size;
    const long end = address(cloister_setup_call) + arch::system_call_size;
    must(sys::setup_call(SYS_munmap, end - size, size) == 0, Exit::SetupPage);
}

/// Tries what only the filter, or a missing page, can stop.
[[noreturn]] INLINE void violate(Mode mode) {
    constexpr long number = SYS_getppid; // harmless anywhere
    if (mode == Mode::Call) {
        sys::cell_call(number);
    } else {
        arch::call_at(static_cast<std::uintptr_t>(mode), number);
    }
    leave(Exit::Bug);
}

/// Returns in a cell that is confined and shall serve, and in no other.
INLINE void confine(const Parameters& parameters) {
    set_up(parameters);
    unmap_setup_page();
    if (parameters.mode == Mode::Release) {
        close_and_leave(Exit::Done); // it may sleep there: src/listener/release.cpp
    }
    if (parameters.mode != Mode::Serve) {
        violate(parameters.mode);
    }
}

/// Sends what is in the buffer. The filter allows one address only, its start: what is left moves there.
INLINE void send_all(std::uint8_t* buffer, long size) {
    int empty = 0;
    while (size > 0) {
        const long sent = sys::cell_call(SYS_sendto, connection, address(buffer), size, MSG_NOSIGNAL, 0, 0);
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
        const long received = sys::cell_call(SYS_recvfrom, connection, address(buffer), buffer_size, 0, 0, 0);
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
            const long shut = sys::cell_call(SYS_shutdown, connection, SHUT_WR);
            close_and_leave(shut == 0 ? Exit::Done : end_of(shut, Exit::Reset));
        }
        send_all(buffer, received);
    }
}

} // namespace

extern "C" CELL_CODE void cloister_cell_main(const Parameters* parameters, std::uint8_t* buffer) {
    confine(*parameters);
    echo(buffer);
}

} // namespace cloister::cell
