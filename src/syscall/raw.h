// SPDX-License-Identifier: MIT
#pragma once

#if defined(__x86_64__)
#include "syscall/arch/x86_64/arch.h"
#elif defined(__aarch64__)
#include "syscall/arch/aarch64/arch.h"
#endif

/// The ways into the kernel for the listener (after lock-down) and for a cell: no libc, no errno, no
/// cancellation point, no vDSO. The one seccomp program of both looks at the address that a system call
/// returns to, so the instruction that makes the call decides which policy holds for it:
///   through_gate    policy/listener.policy    the listener; a cell is born without that page
///   through_ladder  policy/birth.policy       a newborn cell, which then unmaps that page
///   directly        policy/connection.policy  any other instruction there is: all that is left to a cell
/// (The fourth, the door of policy/door.policy, is in src/arch/*/cell.cpp.)
/// Each returns what the kernel returns: -4095 … -1 is a negated errno (syscall(2)).
namespace cloister::sys {

enum class Way { Gate, Door, Ladder, Direct };

#ifdef CLOISTER_SCRIPTED_KERNEL

/// The scripted twin of the kernel, for tests and fuzzing; they define it.
long answer(Way way, long number, long a1, long a2, long a3, long a4, long a5, long a6);

#define CLOISTER_WAY(name, way, instruction)                                                                 \
    inline long name(long number, long a1 = 0, long a2 = 0, long a3 = 0, long a4 = 0, long a5 = 0,           \
                     long a6 = 0) {                                                                          \
        return answer(way, number, a1, a2, a3, a4, a5, a6);                                                  \
    }

#else

// NOLINTBEGIN(bugprone-macro-parentheses): the text of an instruction takes none
#define CLOISTER_WAY(name, way, instruction)                                                                 \
    [[gnu::always_inline]] inline long name(long number, long a1 = 0, long a2 = 0, long a3 = 0, long a4 = 0, \
                                            long a5 = 0, long a6 = 0) {                                      \
        CLOISTER_CALL_BY(instruction)                                                                        \
    }
// NOLINTEND(bugprone-macro-parentheses)

#endif

CLOISTER_WAY(through_gate, Way::Gate, CLOISTER_THROUGH("cloister_gate"))
CLOISTER_WAY(through_ladder, Way::Ladder, CLOISTER_THROUGH("cloister_ladder"))
CLOISTER_WAY(directly, Way::Direct, CLOISTER_DIRECTLY)

#undef CLOISTER_WAY

extern "C" {
extern const unsigned char cloister_gate[]; ///< the instruction (src/arch/*/gate.cpp)
}

} // namespace cloister::sys
