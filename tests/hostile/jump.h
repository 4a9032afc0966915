// SPDX-License-Identifier: MIT
#pragma once

#include "monitor.h"

namespace cloister::hostile {

/// Runs whatever stands at the order's target, with a call in the registers; gives what it leaves where the
/// result of a call is. What it may overwrite besides is the code of a cell's loop, which it may run into.
#if defined(__x86_64__)

[[gnu::always_inline]] inline Reply jump(const Order& order) {
    const auto& a = order.arguments;
    register std::uint64_t r10 asm("r10") = a[4];
    register std::uint64_t r8 asm("r8") = a[5];
    register std::uint64_t r9 asm("r9") = a[6];
    std::uint64_t result = a[0];
    std::uint64_t target = order.target;
    std::uint64_t rdi = a[1];
    std::uint64_t rsi = a[2];
    std::uint64_t rdx = a[3];
    asm volatile("call *%[target]"
                 : "+a"(result), [target] "+r"(target), "+D"(rdi), "+S"(rsi), "+d"(rdx), "+r"(r10), "+r"(r8),
                   "+r"(r9)
                 :
                 : "rcx", "r11", "r12", "r13", "r14", "r15", "cc", "memory");
    return result;
}

#elif defined(__aarch64__)

[[gnu::always_inline]] inline Reply jump(const Order& order) {
    const auto& a = order.arguments;
    register std::uint64_t x8 asm("x8") = a[0];
    register std::uint64_t x0 asm("x0") = a[1];
    register std::uint64_t x1 asm("x1") = a[2];
    register std::uint64_t x2 asm("x2") = a[3];
    register std::uint64_t x3 asm("x3") = a[4];
    register std::uint64_t x4 asm("x4") = a[5];
    register std::uint64_t x5 asm("x5") = a[6];
    register std::uint64_t target asm("x16") = order.target;
    asm volatile("blr %[target]"
                 : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3), "+r"(x4), "+r"(x5), "+r"(x8), [target] "+r"(target)
                 :
                 : "x6", "x7", "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x17", "x18", "x21", "x22",
                   "x23", "x24", "x25", "x26", "x27", "x28", "x30", "cc", "memory");
    return x0;
}

#endif

} // namespace cloister::hostile
