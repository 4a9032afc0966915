// SPDX-License-Identifier: MIT
#pragma once

#if defined(__x86_64__)
#include "syscall/arch/x86_64/arch.h"
#elif defined(__aarch64__)
#include "syscall/arch/aarch64/arch.h"
#endif

/// System calls of the listener (after lock-down) and of cells: no libc, no errno, no cancellation point, no
/// vDSO. A call site is the one instruction from which a policy's calls may be made: the combined filter
/// compares the address that a system call returns to.
///   listener_call  policy/listener.policy    the listener; a cell does not have that page
///   setup_call     policy/setup.policy       a new cell, which then unmaps that page
///   cell_call      policy/handlers/*.policy  any other instruction: all that is left to a cell
/// The clone call site (policy/clone.policy) is in src/cell/arch/*/cell.cpp.
/// Each returns what the kernel returns: -4095 … -1 is a negated errno (syscall(2)).
namespace cloister::sys {

enum class CallSite { Listener, Clone, Setup, Cell };

#ifdef CLOISTER_SCRIPTED_KERNEL

/// A scripted kernel, which tests and fuzzers define.
long answer(CallSite site, long number, long a1, long a2, long a3, long a4, long a5, long a6);

#define CLOISTER_CALL_SITE(name, site, instruction)                                                          \
    inline long name(long number, long a1 = 0, long a2 = 0, long a3 = 0, long a4 = 0, long a5 = 0,           \
                     long a6 = 0) {                                                                          \
        return answer(site, number, a1, a2, a3, a4, a5, a6);                                                 \
    }

#else

// NOLINTBEGIN(bugprone-macro-parentheses): the text of an instruction takes none
#define CLOISTER_CALL_SITE(name, site, instruction)                                                          \
    [[gnu::always_inline]] inline long name(long number, long a1 = 0, long a2 = 0, long a3 = 0, long a4 = 0, \
                                            long a5 = 0, long a6 = 0) {                                      \
        CLOISTER_CALL_BY(instruction)                                                                        \
    }
// NOLINTEND(bugprone-macro-parentheses)

#endif

CLOISTER_CALL_SITE(listener_call, CallSite::Listener, CLOISTER_CALL_THROUGH("cloister_listener_call"))
CLOISTER_CALL_SITE(setup_call, CallSite::Setup, CLOISTER_CALL_THROUGH("cloister_setup_call"))
CLOISTER_CALL_SITE(cell_call, CallSite::Cell, CLOISTER_CALL_HERE)

#undef CLOISTER_CALL_SITE

extern "C" {
extern const unsigned char cloister_listener_call[]; ///< the instruction (arch/*/listener_call.cpp)
}

} // namespace cloister::sys
