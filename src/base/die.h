// SPDX-License-Identifier: MIT
#pragma once

#include "base/exit_code.h"

#include <string_view>

namespace cloister {

class Log;

/// Ends this process at once: the environment failed us. The text says what was asked, what the kernel said,
/// and what to do: `STEP: EPERM (Operation not permitted); CURE`. A usual cure is added where the text has
/// none. Until log_fatal_errors_to() it goes to descriptor 2 as one line, `program: text`, then into a record
/// `fatal`. Allocates nothing and may be called under the listener's filter.
[[noreturn, gnu::cold, gnu::format(printf, 2, 3)]] void die(ExitCode code, const char* format, ...);

/// Ends this process at once: we are wrong. For what can't happen. The same as die() with ExitCode::SelfTest.
[[noreturn, gnu::cold, gnu::format(printf, 1, 2)]] void bug(const char* format, ...);

/// From now on die() and bug() write a record `fatal` to `log`, after what it still holds; a reader that does
/// not read keeps us for a second. `log` stays for good.
void log_fatal_errors_to(Log& log);

/// Without such a log die() and bug() give their text to `write` instead of write(2).
void write_fatal_errors_by(void (*write)(std::string_view));

/// Writes that record and returns: for a process that has something to do before it ends.
void log_fatal_error(Log& log, ExitCode code, std::string_view message);

/// The parts of such a text. `error` is the name of an errno, empty without one, as `cure` may be.
struct FatalText {
    std::string_view step, error, cure;
};
[[nodiscard]] FatalText split_fatal(std::string_view message);

/// What helps against an error that a text names without a cure, and that no permission is missing for.
/// Empty if we know nothing. die() adds it.
[[nodiscard]] std::string_view missing_cure(std::string_view message);

/// `EPERM (Operation not permitted)`. `error` may be negated, as raw system calls give it. One buffer for all
/// calls.
[[nodiscard]] const char* error_text(long error);

} // namespace cloister
