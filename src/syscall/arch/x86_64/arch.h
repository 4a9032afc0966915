// SPDX-License-Identifier: MIT
#pragma once

#include <cpuid.h>
#include <cstddef>
#include <cstdint>

/// What is specific to x86_64, for src/syscall/raw.h and src/cell. System calls: syscall(2), "Architecture
/// calling conventions".
namespace cloister::arch {

inline constexpr unsigned system_call_size = 2; ///< of the instruction; the filter sees the address behind it
inline constexpr std::size_t max_page_size = 4096; ///< whatever the kernel: it has no other

#define CLOISTER_CALL_HERE "syscall"
// A call in inline assembly must not write into the red zone (System V ABI, x86-64, 3.2.2).
#define CLOISTER_CALL_THROUGH(stub) "lea -128(%%rsp), %%rsp\n call " stub "\n lea 128(%%rsp), %%rsp"

// NOLINTBEGIN(bugprone-macro-parentheses): the text of an instruction takes none
/// The body of long f(long number, long a1, ... long a6), which makes that call by `instruction`.
#define CLOISTER_CALL_BY(instruction)                                                                        \
    register long r10 asm("r10") = a4;                                                                       \
    register long r8 asm("r8") = a5;                                                                         \
    register long r9 asm("r9") = a6;                                                                         \
    long result = number;                                                                                    \
    asm volatile(instruction                                                                                 \
                 : "+a"(result)                                                                              \
                 : "D"(a1), "S"(a2), "d"(a3), "r"(r10), "r"(r8), "r"(r9)                                     \
                 : "rcx", "r11", "memory");                                                                  \
    return result;
// NOLINTEND(bugprone-macro-parentheses)

/// Makes the call `number` by the instruction at `address`, if there is one.
[[gnu::always_inline]] inline void call_at(std::uintptr_t address, long number) {
    asm volatile("call *%1" : "+a"(number) : "r"(address) : "rcx", "r11", "memory");
}

/// Copies `size` bytes; the two may overlap if `to` is the lower. An instruction of its own: a loop would
/// become a call of memmove.
[[gnu::always_inline]] inline void copy(std::uint8_t* to, const std::uint8_t* from, long size) {
    asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
}

/// Whether the operating system uses XSAVE: Intel SDM 1, 13.2.
inline bool has_xsave() {
    unsigned eax = 0;
    unsigned ebx = 0;
    unsigned ecx = 0;
    unsigned edx = 0;
    return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_OSXSAVE) != 0;
}

} // namespace cloister::arch
