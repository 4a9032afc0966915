// SPDX-License-Identifier: MIT
#pragma once

namespace cloister::sys {

#ifdef CLOISTER_SCRIPTED_KERNEL

/// The scripted twin of the kernel, for tests and fuzzing; they define it.
long raw(long number, long a1 = 0, long a2 = 0, long a3 = 0, long a4 = 0, long a5 = 0, long a6 = 0);

#else

/// The one primitive behind every system call of the listener (after lock-down) and of a cell: no libc, no
/// errno, no cancellation point, no vDSO. Returns what the kernel returns: -4095 … -1 is a negated errno
/// (syscall(2)).
[[gnu::always_inline]] inline long raw(long number, long a1 = 0, long a2 = 0, long a3 = 0, long a4 = 0,
                                       long a5 = 0, long a6 = 0) {
    register long r10 asm("r10") = a4;
    register long r8 asm("r8") = a5;
    register long r9 asm("r9") = a6;
    long result = number;
    asm volatile("syscall"
                 : "+a"(result)
                 : "D"(a1), "S"(a2), "d"(a3), "r"(r10), "r"(r8), "r"(r9)
                 : "rcx", "r11", "memory");
    return result;
}

#endif

} // namespace cloister::sys
