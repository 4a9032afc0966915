// SPDX-License-Identifier: MIT
#pragma once

#include "syscall/raw.h"

#include <array>
#include <csignal>
#include <cstddef>
#include <cstdint>

/// The instructions from which these tests make calls: all that they know of processors.
namespace cloister::live {

struct Attempt {
    long number;
    std::array<std::uint64_t, 6> arguments{};
};

/// Where a call is made from: stands for the instruction that the listener and its cells have for it.
enum class Site { listener, clone, setup, elsewhere, ia32 };

extern "C" {
[[gnu::visibility("hidden")]] extern const std::uint8_t site_listener[], site_clone[], site_setup[],
    site_elsewhere[], site_ia32[];
}

#if defined(__x86_64__)

#define CLOISTER_IA32 "int $0x80"                // the system call instruction of 32-bit programs
inline constexpr int end_without_ia32 = SIGSEGV; ///< of who uses it where the kernel does not have it

inline long make_by(const std::uint8_t* instruction, const Attempt& attempt) {
    const std::uint64_t* const a = attempt.arguments.data();
    register std::uint64_t r10 asm("r10") = a[3];
    register std::uint64_t r8 asm("r8") = a[4];
    register std::uint64_t r9 asm("r9") = a[5];
    long result = attempt.number;
    std::uint64_t ecx = a[1]; // int $0x80 takes its first two arguments from ebx and ecx
    asm volatile("lea -128(%%rsp), %%rsp\n call *%[at]\n lea 128(%%rsp), %%rsp"
                 : "+a"(result), "+c"(ecx), "+r"(r10), "+r"(r8), "+r"(r9)
                 : [at] "r"(instruction), "D"(a[0]), "S"(a[1]), "d"(a[2]), "b"(a[0])
                 : "r11", "memory");
    return result;
}

#elif defined(__aarch64__)

#define CLOISTER_IA32 "udf #0" // none: a 64-bit program has no way to make a 32-bit call
inline constexpr int end_without_ia32 = SIGILL;

inline long make_by(const std::uint8_t* instruction, const Attempt& attempt) {
    const std::uint64_t* const a = attempt.arguments.data();
    register long x8 asm("x8") = attempt.number;
    register std::uint64_t x0 asm("x0") = a[0];
    register std::uint64_t x1 asm("x1") = a[1];
    register std::uint64_t x2 asm("x2") = a[2];
    register std::uint64_t x3 asm("x3") = a[3];
    register std::uint64_t x4 asm("x4") = a[4];
    register std::uint64_t x5 asm("x5") = a[5];
    asm volatile("blr %[at]"
                 : "+r"(x0)
                 : [at] "r"(instruction), "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                 : "x30", "memory");
    return static_cast<long>(x0);
}

#endif

// clang-format off
asm(".pushsection .text\n .balign 4\n"
    "site_listener: .globl site_listener\n "           CLOISTER_CALL_HERE "\n ret\n"
    "site_clone: .globl site_clone\n "           CLOISTER_CALL_HERE "\n ret\n"
    "site_setup: .globl site_setup\n "       CLOISTER_CALL_HERE "\n ret\n"
    "site_elsewhere: .globl site_elsewhere\n " CLOISTER_CALL_HERE "\n ret\n"
    "site_ia32: .globl site_ia32\n "           CLOISTER_IA32 "\n ret\n"
    ".popsection");
// clang-format on

inline const std::uint8_t* instruction_of(Site site) {
    const std::uint8_t* const sites[] = {site_listener, site_clone, site_setup, site_elsewhere, site_ia32};
    return sites[static_cast<std::size_t>(site)];
}
inline std::uint64_t return_address(Site site) { // int $0x80 is as long as the other
    return reinterpret_cast<std::uint64_t>(instruction_of(site)) + arch::system_call_size;
}

inline long make(const Attempt& attempt, Site site) {
    return make_by(instruction_of(site), attempt);
}

} // namespace cloister::live
