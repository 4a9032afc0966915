// SPDX-License-Identifier: MIT
#pragma once

#include "cell/cell.h"

#include <sys/syscall.h>

#define CLOISTER_INLINE [[gnu::always_inline]] inline
#define CLOISTER_CELL_CODE [[gnu::section(".cell.loop"), gnu::used]]
/// Before a handler's constants: they lie in the cell's read-only pages.
#define CLOISTER_CELL_CONSTANT [[gnu::section(".cell.constants")]] static constexpr

namespace cloister::cell {

constexpr int connection = 0; // the listener keeps descriptor 0 free, so that accept4 returns it

/// The handler of this program (src/handlers), which a confined cell runs until its end.
extern "C" [[noreturn]] void cloister_handle(std::uint8_t* buffer);

/// One place to leave from: the fewer system call instructions a cell has, the fewer there are to jump to.
[[noreturn, gnu::noinline]] void leave(Exit code);
[[noreturn, gnu::noinline]] void close_and_leave(Exit code);

CLOISTER_INLINE long address(const void* pointer) {
    return reinterpret_cast<long>(pointer);
}

} // namespace cloister::cell
