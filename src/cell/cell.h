// SPDX-License-Identifier: MIT
#pragma once

#include "syscall/raw.h"

#include <cstddef>
#include <cstdint>
#include <sys/resource.h>
#include <sys/time.h>

namespace cloister::cell {

inline constexpr std::size_t buffer_size = 65536; ///< SIZE in policy/handlers/*.policy
/// The stack's top shares a page with the buffer's start: a short message costs a cell one page, not two.
inline constexpr std::size_t stack_size = 4096 + 1024;
inline constexpr int exit_signal = 40; ///< a real-time signal: they queue (signal(7))
inline constexpr unsigned long clone_flags = 0x80000 | exit_signal;  ///< CLONE_SETTLS: thread pointer 0
inline constexpr unsigned long releaser_flags = clone_flags | 0x400; ///< CLONE_FILES

/// The exit code of a cell, for the log. Up to 5 it is a claim of a process that may have been taken over;
/// the others are allowed at the setup call site only (policy/setup.policy).
enum class Exit : int {
    Done = 0,      ///< the client ended its stream; all that the handler sent was handed to the kernel
    Idle = 1,      ///< nothing was received: for the idle limit, or, if it ends sooner, at all
    Stalled = 2,   ///< nothing could be sent for it: nobody read, or the network did not deliver
    Reset = 3,     ///< the connection broke: reset, timed out, unreachable
    Resources = 4, ///< the kernel had no memory for it, or took nothing again and again
    Bug = 5,       ///< the kernel answered what it can't; or a negative self-test survived what must kill it
    Descriptors = 6, ///< from here on, the step of setup that failed; nothing was received
    DeathSignal = 7,
    Orphan = 8,
    CpuLimit = 9,
    Lifetime = 10,
    SetupPage = 11,
};

/// The call sites (syscall/raw.h): the instructions from which the filter allows more than a handler's
/// policy, each in a page of its own. A cell does not have the first two pages; it unmaps the third.
struct CallSites {
    const std::uint8_t *listener, *clone, *setup;
};

/// What a cell does after its setup. Call and the jumps are negative self-tests, which must kill it.
enum class Mode : std::uintptr_t {
    Serve = 0,
    Call = 1,    ///< makes a call of setup.policy: SIGSYS
    Release = 2, ///< closes descriptor 0 of the listener, whose descriptors it shares, and ends
    // Any other value: jumps to this address, of an instruction that it must not have: SIGSEGV.
};

/// What a new cell is given, in six registers: the memory that it inherits contains nothing for it.
struct Parameters {
    long listener;     ///< what getppid() must return
    std::uint64_t cpu; ///< seconds: SIGXCPU, and a second later SIGKILL
    timeval lifetime;
    Mode mode;
    long has_xsave; ///< of this processor, where it is an x86_64
    [[gnu::always_inline]] [[nodiscard]] rlimit64 cpu_limit() const { return {cpu, cpu + 1}; }
    [[gnu::always_inline]] [[nodiscard]] itimerval lifetime_limit() const { return {{}, lifetime}; }
};
static_assert(sizeof(Parameters) == 6 * sizeof(long));

/// The memory of a cell besides its code: pages of zeros, since the listener never writes there. On both
/// sides of it nothing is mapped, so that a stack that grows too far faults.
struct alignas(arch::max_page_size) Arena {
    std::uint8_t stack[stack_size];
    std::uint8_t buffer[buffer_size];
};

extern "C" {
/// Forks a cell that has the connection at descriptor 0. Returns its process number or a negated errno, in
/// the listener only. The cell runs on the stack that ends where `buffer` begins, with every register
/// cleared, and ends by one of Exit.
[[nodiscard]] long cloister_clone_cell(const Parameters*, const std::uint8_t* buffer, unsigned long flags);

/// What a new cell runs; for cloister_clone_cell and for tests.
[[noreturn]] void cloister_cell_main(const Parameters* parameters, std::uint8_t* buffer);

// Of this program: two call sites, and the pages that a new cell has, setup and loop (cell.ld).
[[gnu::visibility("hidden")]] extern const std::uint8_t cloister_clone_call[], cloister_setup_call[],
    cloister_cell_start[], cloister_cell_end[];
}

inline CallSites call_sites() {
    return {sys::cloister_listener_call, cloister_clone_call, cloister_setup_call};
}

} // namespace cloister::cell
