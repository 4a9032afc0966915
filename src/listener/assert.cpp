// SPDX-License-Identifier: MIT
#include "base/die.h"

#include <cstddef>

/// What the checks of _GLIBCXX_ASSERTIONS call. The runtime library's own would bring exceptions, demangling
/// and stdio into a process that has no use for them.
void std::__glibcxx_assert_fail(const char* file, int line, const char* function,
                                const char* condition) noexcept {
    cloister::bug("%s:%d: %s: %s", file, line, function, condition);
}
