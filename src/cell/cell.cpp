// SPDX-License-Identifier: MIT
//
// A cell's whole life. This file is freestanding: it runs in a process that has no libc, no thread-local
// storage and no memory but this page of code, the orders and the arena. So: no calls out, no constants in
// .rodata, no stack protector (src/cell/CMakeLists.txt has the flags, a test looks at the object).
#include "cell/cell.h"

#include "sys/calls.h"

#include <asm/prctl.h>
#include <cerrno>
#include <linux/seccomp.h>
#include <sys/prctl.h>

#define CELL_CODE [[gnu::section(".cell"), gnu::used]]

namespace cloister::cell {
namespace {

constexpr int connection = 0; // the listener keeps descriptor 0 free, so that accept4 returns it
constexpr int tries_of_empty_send = 16;

/// One place to leave from: the fewer system call instructions a cell has, the fewer there are to jump to.
CELL_CODE [[noreturn, gnu::noinline]] void leave(Exit code) {
    sys::exit_group(static_cast<int>(code));
}

[[gnu::always_inline]] inline bool is_impossible(long error) {
    constexpr long last_errno = 4095; // MAX_ERRNO, include/linux/err.h
    return error < -last_errno || error == -EBADF || error == -EFAULT || error == -EINVAL ||
           error == -ENOTSOCK || error == -EOPNOTSUPP;
}

/// The end that an error of recv or send means; `timeout` is what EAGAIN means.
[[gnu::always_inline]] inline Exit end_of(long error, Exit timeout) {
    if (error == -EAGAIN) {
        return timeout; // SO_RCVTIMEO, SO_SNDTIMEO: socket(7)
    }
    if (error == -ENOMEM || error == -ENOBUFS) {
        return Exit::Resources;
    }
    return is_impossible(error) ? Exit::Bug : Exit::Reset;
}

/// Moves `size` bytes to a lower, possibly overlapping address. An instruction of its own: a loop would
/// become a call of memmove.
[[gnu::always_inline]] inline void move_down(std::uint8_t* to, const std::uint8_t* from, long size) {
    asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
}

/// Everything that must be true before the first byte. A cell that can't make it true ends.
[[gnu::always_inline]] inline void confine(const Orders& orders) {
    if (sys::close_range(1, ~0U) != 0) {
        leave(Exit::Descriptors);
    }
    if (sys::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) {
        leave(Exit::DeathSignal);
    }
    if (sys::getppid() != orders.listener) { // it died before we asked to be told (prctl(2))
        leave(Exit::Orphan);
    }
    if (sys::setrlimit(RLIMIT_CPU, &orders.cpu) != 0) {
        leave(Exit::CpuLimit);
    }
    if (sys::setitimer(ITIMER_REAL, &orders.lifetime) != 0) {
        leave(Exit::Lifetime);
    }
    if (sys::capset(&orders.capability_header, orders.capabilities) != 0) {
        leave(Exit::Capabilities);
    }
    const sock_fprog program{static_cast<unsigned short>(orders.filter_length),
                             const_cast<sock_filter*>(orders.filter)};
    if (sys::seccomp(SECCOMP_SET_MODE_FILTER, 0, &program) != 0) {
        leave(Exit::Filter);
    }
}

/// Sends all of what is in the buffer. The filter allows one address only, its start: what is left moves
/// there.
[[gnu::always_inline]] inline void send_all(std::uint8_t* buffer, long size) {
    int empty = 0;
    while (size > 0) {
        const long sent = sys::send(connection, buffer, size);
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
            move_down(buffer, buffer + sent, size);
        }
    }
}

[[noreturn, gnu::always_inline]] inline void echo(std::uint8_t* buffer) {
    for (;;) {
        const long received = sys::recv(connection, buffer, buffer_size);
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
            sys::shutdown(connection, SHUT_WR); // ENOTCONN: the client is gone, which is as good
            sys::close(connection);             // never repeated: close(2)
            leave(Exit::Done);
        }
        send_all(buffer, received);
    }
}

} // namespace

extern "C" CELL_CODE void cloister_cell_main(const Layout* layout, Duty duty) {
    confine(layout->orders);
    if (duty == Duty::Violate) {
        sys::getppid(); // allowed to the listener, and to us until now: only our own filter can stop it
        leave(Exit::Unconfined);
    }
    echo(const_cast<std::uint8_t*>(layout->arena.buffer));
}

#ifndef CLOISTER_SCRIPTED_KERNEL
// (layout = rdi, stack_top = rsi, flags = rdx, duty = rcx). The child has neither the caller's stack nor its
// thread pointer; what the caller left in its registers (a peer's address was seen in xmm7) is cleared before
// anything else.
extern "C" CELL_CODE [[gnu::naked]] long cloister_clone_cell(const Layout*, const void*, unsigned long,
                                                             Duty) {
    asm volatile(R"(
        push  %rbx
        push  %rbp
        mov   %rdi, %rbx
        mov   %rcx, %rbp
        mov   %rdx, %rdi            # clone(flags, stack, parent_tid, child_tid, tls)
        xor   %edx, %edx
        xor   %r10d, %r10d
        xor   %r8d, %r8d
        mov   $56, %eax
        syscall
        test  %rax, %rax
        jz    1f
        pop   %rbp
        pop   %rbx
        ret
    1:  mov   $0xfffffdff, %eax     # every state component but the protection keys
        mov   $0xffffffff, %edx
        cmpl  $0, 576(%rbx)         # Orders::has_xsave
        je    2f
        xrstor64 (%rbx)
        jmp   3f
    2:  fxrstor64 (%rbx)
    3:  mov   %rbx, %rdi
        mov   %rbp, %rsi
        xor   %eax, %eax
        xor   %ebx, %ebx
        xor   %ecx, %ecx
        xor   %edx, %edx
        xor   %ebp, %ebp
        xor   %r8d, %r8d
        xor   %r9d, %r9d
        xor   %r10d, %r10d
        xor   %r11d, %r11d
        xor   %r12d, %r12d
        xor   %r13d, %r13d
        xor   %r14d, %r14d
        xor   %r15d, %r15d
        cld
        call  cloister_cell_main
        ud2
    )");
}
static_assert(offsetof(Orders, processor_state) == 0 && offsetof(Orders, has_xsave) == 576);
static_assert(offsetof(Layout, orders) == 0);
#endif

} // namespace cloister::cell
