// SPDX-License-Identifier: MIT
#pragma once

#include "sys/raw.h"

#include <cstddef>
#include <cstdint>
#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/types.h>

namespace cloister::cell {

inline constexpr std::size_t page_size = 4096;
inline constexpr std::size_t buffer_size = 65536; ///< SIZE in policy/connection.policy
/// The stack's top shares a page with the buffer's start: a short message costs a cell one page, not two.
inline constexpr std::size_t stack_size = page_size + 512;
inline constexpr int exit_signal = 40; ///< a real-time signal: they queue (signal(7))
/// CLONE_SETTLS: the thread pointer becomes 0.
inline constexpr unsigned long clone_flags = 0x80000 | exit_signal;

/// How a cell ends; the listener turns it into the `reason` of the log. It is a claim of a process that may
/// have been taken over. At most 15 (policy/connection.policy).
enum class Exit : int {
    Done = 0,        ///< the client said that it was done, and has been answered
    Idle = 1,        ///< nothing received for the idle limit
    Stalled = 2,     ///< nothing could be sent for the idle limit
    Reset = 3,       ///< the connection broke: reset, timed out, unreachable
    Resources = 4,   ///< the kernel had no memory for us
    Bug = 5,         ///< the kernel answered what it can't
    Descriptors = 6, ///< from here on, the step of birth that failed; nothing was received
    DeathSignal = 7,
    Orphan = 8,
    CpuLimit = 9,
    Lifetime = 10,
    Capabilities = 11,
    Ladder = 12,
    Unconfined = 13, ///< a violator survived what must kill it (never in a cell that serves)
};

/// The instructions behind which the filter allows more than a cell's five calls (sys/raw.h), each in a page
/// of its own. A cell does not have the first two pages; it unmaps the third, at whose end the ladder lies.
struct Instructions {
    const std::uint8_t *gate, *door, *ladder;
};

/// What a newborn is told: one page that nobody can write, not the listener, not a cell (a sealed memfd).
struct alignas(page_size) Orders {
    /// An XSAVE area that says 'everything in its initial state' (Intel SDM 1, 13.4); MXCSR at byte 24.
    alignas(64) std::uint8_t processor_state[576];
    std::uint32_t has_xsave;
    pid_t listener; ///< whose child a cell must be
    rlimit64 cpu;
    itimerval lifetime;
    __user_cap_header_struct capability_header;
    __user_cap_data_struct capabilities[2]; ///< all empty
    Instructions instructions;
};
static_assert(sizeof(Orders) == page_size);

/// The memory of a cell besides its code and its orders. Nothing else of the listener's is there.
struct alignas(page_size) Arena {
    std::uint8_t stack[stack_size]; ///< below it lie the orders: a stack that grows too far faults
    std::uint8_t buffer[buffer_size];
};

/// What lies together, so that a cell needs one page of each level of page tables.
struct Layout {
    Orders orders;
    Arena arena;
};

/// What a cell does once it is confined. All but the first must not survive it.
enum class Duty : long {
    Serve = 0,
    Call = 1,         ///< a call that its birth may make and a cell may not: SIGSYS
    JumpToLadder = 2, ///< and from here on, to what it must not have: SIGSEGV
    JumpToDoor = 3,
    JumpToGate = 4,
};

extern "C" {
/// Forks a cell that has the connection at descriptor 0. Returns its process number or a negated errno, in
/// the listener only. The cell runs on `stack_top`, with every register cleared, and ends by one of Exit.
[[nodiscard]] long cloister_clone_cell(const Layout* layout, const void* stack_top, unsigned long flags,
                                       Duty duty);

/// What a newborn runs; for cloister_clone_cell and for tests.
[[noreturn]] void cloister_cell_main(const Layout* layout, Duty duty);

// Of this program: the two instructions, and the two pages that a newborn has, ladder and loop (cell.ld).
extern const std::uint8_t cloister_door[], cloister_ladder[], cloister_cell_start[], cloister_cell_end[];
}

inline Instructions instructions() {
    return {sys::cloister_gate, cloister_door, cloister_ladder};
}

} // namespace cloister::cell
