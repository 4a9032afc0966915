// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>

/// What is specific to aarch64, for src/syscall/raw.h and src/cell. System calls: syscall(2), "Architecture
/// calling conventions".
namespace cloister::arch {

inline constexpr unsigned system_call_size = 4; ///< of the instruction; the filter sees the address behind it
/// A kernel has pages of 4, 16 or 64 KiB (arch/arm64/Kconfig): a page of the largest size is enough for any.
inline constexpr std::size_t max_page_size = 65536;

#define CLOISTER_CALL_HERE "svc #0"
#define CLOISTER_CALL_THROUGH(stub) "bl " stub

// NOLINTBEGIN(bugprone-macro-parentheses): the text of an instruction takes none
/// The body of long f(long number, long a1, ... long a6), which makes that call by `instruction`.
#define CLOISTER_CALL_BY(instruction)                                                                        \
    register long x8 asm("x8") = number;                                                                     \
    register long x0 asm("x0") = a1;                                                                         \
    register long x1 asm("x1") = a2;                                                                         \
    register long x2 asm("x2") = a3;                                                                         \
    register long x3 asm("x3") = a4;                                                                         \
    register long x4 asm("x4") = a5;                                                                         \
    register long x5 asm("x5") = a6;                                                                         \
    asm volatile(instruction                                                                                 \
                 : "+r"(x0)                                                                                  \
                 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)                                      \
                 : "x30", "memory");                                                                         \
    return x0;
// NOLINTEND(bugprone-macro-parentheses)

/// Makes the call `number` by the instruction at `address`, if there is one.
[[gnu::always_inline]] inline void call_at(std::uintptr_t address, long number) {
    register long x8 asm("x8") = number;
    asm volatile("blr %1" : : "r"(x8), "r"(address) : "x0", "x30", "memory");
}

/// Copies `size` bytes, at least one; the two may overlap if `to` is the lower. Assembly: a loop would become
/// a call of memmove.
[[gnu::always_inline]] inline void copy(std::uint8_t* to, const std::uint8_t* from, long size) {
    const std::uint8_t* const end = from + size;
    asm volatile("1: ldrb w9, [%1], #1\n strb w9, [%0], #1\n cmp %1, %2\n b.ne 1b"
                 : "+r"(to), "+r"(from)
                 : "r"(end)
                 : "x9", "cc", "memory");
}

inline constexpr bool has_xsave() {
    return false;
}

} // namespace cloister::arch
