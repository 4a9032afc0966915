// SPDX-License-Identifier: MIT
#include "base/die.h"

#include "syscall/calls.h"

#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <errno.h>

namespace cloister {
namespace {

[[noreturn, gnu::format(printf, 3, 0)]] void say_and_exit(ExitCode code, const char* kind, const char* format,
                                                          va_list arguments) {
    char line[2048];
    constexpr int room = sizeof line - 1; // for the newline
    int length = std::snprintf(line, room, "%s: %s", program_invocation_short_name, kind);
    if (length >= 0 && length < room) {
        const auto left = static_cast<std::size_t>(room - length);
        // NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): the caller has started it
        const int more = std::vsnprintf(line + length, left, format, arguments);
        length = more < 0 ? length : length + more;
    }
    length = length >= room ? room - 1 : length;
    if (length > 0) {
        line[length] = '\n';
        (void)sys::write(2, line, length + 1);
    }
    sys::exit_group(static_cast<int>(code));
}

} // namespace

void die(ExitCode code, const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    say_and_exit(code, "", format, arguments);
}

void bug(const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    say_and_exit(ExitCode::SelfTest, "bug: ", format, arguments);
}

const char* error_text(long error) {
    static char text[96];
    const int number = static_cast<int>(error < 0 ? -error : error);
    const char* name = strerrorname_np(number);
    const char* description = strerrordesc_np(number);
    if (name == nullptr || description == nullptr) {
        (void)std::snprintf(text, sizeof text, "error %d", number);
    } else {
        (void)std::snprintf(text, sizeof text, "%s (%s)", name, description);
    }
    return text;
}

} // namespace cloister
