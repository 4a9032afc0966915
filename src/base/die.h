// SPDX-License-Identifier: MIT
#pragma once

#include "base/exit_code.h"

namespace cloister {

/// Ends this process at once: the environment failed us. Writes one line to descriptor 2, `program: text`;
/// the text says what was asked, what the kernel said, and what to do. Allocates nothing and may be called
/// under the listener's filter.
[[noreturn, gnu::cold, gnu::format(printf, 2, 3)]] void die(ExitCode code, const char* format, ...);

/// Ends this process at once: we are wrong. For what can't happen. The same as die() with ExitCode::SelfTest.
[[noreturn, gnu::cold, gnu::format(printf, 1, 2)]] void bug(const char* format, ...);

/// `EPERM (Operation not permitted)`. `error` may be negated, as raw system calls give it. One buffer for all
/// calls.
[[nodiscard]] const char* error_text(long error);

} // namespace cloister
