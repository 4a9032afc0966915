// SPDX-License-Identifier: MIT
// What a cell does before its handler, freestanding: it has no libc, no thread-local storage and no memory
// but this code and its arena. So: no calls out, no constants in .rodata, no stack protector.
//
// The code of a new cell (cell.ld) begins with the setup page: the code of setup and, at its end, the setup
// call site. The last call from there unmaps that page and returns to the start of the next page, the loop,
// which contains the handler. The filter allows every instruction there what the handler's policy allows.
#include "cell/handler.h"

#include <csignal>
#include <sys/prctl.h>

#define SETUP_CODE [[gnu::section(".cell.setup"), gnu::noinline]]
#define INLINE CLOISTER_INLINE

namespace cloister::cell {
namespace {

/// The end of a new cell that can't be confined. Only through the setup call site does the filter allow these
/// codes: no cell that reads can claim them.
SETUP_CODE [[noreturn]] void fail_setup(Exit step) {
    for (;;) {
        sys::setup_call(SYS_exit_group, static_cast<long>(step));
    }
}

INLINE void must(bool done, Exit step) {
    if (!done) {
        fail_setup(step);
    }
}

/// What must be true before the first byte (policy/setup.policy). Closing may sleep: limits come before it.
SETUP_CODE void set_up(const Parameters& parameters) {
    using sys::setup_call;
    must(setup_call(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0, Exit::DeathSignal);
    // It may have died before we asked to be told: prctl(2).
    must(setup_call(SYS_getppid) == parameters.listener, Exit::Orphan);
    const rlimit64 cpu = parameters.cpu_limit();
    must(setup_call(SYS_prlimit64, 0, RLIMIT_CPU, address(&cpu), 0) == 0, Exit::CpuLimit);
    const itimerval lifetime = parameters.lifetime_limit();
    must(setup_call(SYS_setitimer, ITIMER_REAL, address(&lifetime), 0) == 0, Exit::Lifetime);
    must(parameters.mode == Mode::Release || setup_call(SYS_close_range, 1, ~0U, 0) == 0, Exit::Descriptors);
}

/// Unmaps the page that ends with the setup call site. It stands at the front of its mapping, which is
/// trimmed. If that fails, the call site is still mapped.
INLINE void unmap_setup_page() {
    constexpr long size = arch::max_page_size;
    const long end = address(cloister_setup_call) + arch::system_call_size;
    must(sys::setup_call(SYS_munmap, end - size, size) == 0, Exit::SetupPage);
}

/// For negative self-tests: does what only the filter, or a missing page, prevents.
[[noreturn]] INLINE void violate(Mode mode) {
    constexpr long number = SYS_getppid; // harmless anywhere
    if (mode == Mode::Call) {
        sys::cell_call(number);
    } else {
        arch::call_at(static_cast<std::uintptr_t>(mode), number);
    }
    leave(Exit::Bug);
}

/// Returns in a cell that is confined and shall serve, and in no other.
INLINE void confine(const Parameters& parameters) {
    set_up(parameters);
    unmap_setup_page();
    if (parameters.mode == Mode::Release) {
        close_and_leave(Exit::Done); // close(2) may sleep: src/listener/release.cpp
    }
    if (parameters.mode != Mode::Serve) {
        violate(parameters.mode);
    }
}

} // namespace

CLOISTER_CELL_CODE void leave(Exit code) {
    for (;;) {
        sys::cell_call(SYS_exit_group, static_cast<long>(code));
    }
}

CLOISTER_CELL_CODE void close_and_leave(Exit code) {
    sys::cell_call(SYS_close, connection); // never repeated: close(2)
    leave(code);
}

extern "C" CLOISTER_CELL_CODE void cloister_cell_main(const Parameters* parameters, std::uint8_t* buffer) {
    confine(*parameters);
    cloister_handle(buffer);
}

} // namespace cloister::cell
