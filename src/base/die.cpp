// SPDX-License-Identifier: MIT
#include "base/die.h"

#include "base/log.h"
#include "syscall/calls.h"

#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <errno.h>
#include <utility>

namespace cloister {
namespace {

Log* fatal_log = nullptr;
void (*fatal_write)(std::string_view) = nullptr;

[[noreturn, gnu::format(printf, 3, 0)]] void say_and_exit(ExitCode code, const char* kind, const char* format,
                                                          va_list arguments) {
    char line[2048];
    constexpr int room = sizeof line - 1; // for the newline
    const char* const program = fatal_log == nullptr ? program_invocation_short_name : "";
    int length = std::snprintf(line, room, "%s%s%s", program, *program == '\0' ? "" : ": ", kind);
    if (length >= 0 && length < room) {
        const auto left = static_cast<std::size_t>(room - length);
        // NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): the caller has started it
        const int more = std::vsnprintf(line + length, left, format, arguments);
        length = more < 0 ? length : length + more;
    }
    length = length >= room ? room - 1 : length;
    if (const auto cure = missing_cure({line, static_cast<std::size_t>(length < 0 ? 0 : length)});
        !cure.empty() && length + 2 + static_cast<int>(cure.size()) < room) {
        length += std::snprintf(line + length, static_cast<std::size_t>(room - length), "; %s", cure.data());
    }
    if (Log* const log = std::exchange(fatal_log, nullptr); log != nullptr) {
        log_fatal_error(*log, code, {line, static_cast<std::size_t>(length < 0 ? 0 : length)});
    } else if (length > 0) {
        line[length] = '\n';
        if (fatal_write != nullptr) {
            fatal_write({line, static_cast<std::size_t>(length + 1)});
        } else {
            (void)sys::write(2, line, length + 1);
        }
    }
    sys::exit_group(static_cast<int>(code));
}

bool is_of_a_name(char c) {
    return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

} // namespace

void log_fatal_errors_to(Log& log) {
    fatal_log = &log;
}

void write_fatal_errors_by(void (*write)(std::string_view)) {
    fatal_write = write;
}

FatalText split_fatal(std::string_view message) {
    FatalText parts{message, {}, {}};
    std::string_view rest = message;
    for (std::size_t at = 0; (at = message.find(": E", at)) != std::string_view::npos; ++at) {
        const std::string_view name = message.substr(at + 2);
        std::size_t length = 0;
        while (length < name.size() && is_of_a_name(name[length])) {
            ++length;
        }
        if (name.substr(length).starts_with(" (")) { // as error_text() writes it
            parts.step = message.substr(0, at);
            parts.error = name.substr(0, length);
            rest = name.substr(length);
            break;
        }
    }
    if (const auto end = rest.find("; "); end != std::string_view::npos) {
        parts.cure = rest.substr(end + 2);
        if (parts.error.empty()) {
            parts.step = rest.substr(0, end);
        }
    }
    return parts;
}

std::string_view missing_cure(std::string_view message) {
    static constexpr std::pair<std::string_view, std::string_view> cures[] = {
        {"EPERM",
         "an outer seccomp filter, such as a container's profile, may deny the call: allow it there"},
        {"ENOSYS",
         "an outer seccomp filter, such as a container's profile, may deny the call: allow it there"},
        {"EAGAIN",
         "there is no room for another process: raise pids.max (TasksMax=), RLIMIT_NPROC of the user, "
         "or kernel.pid_max"},
        {"ENOMEM",
         "memory has run out: raise memory.max, RLIMIT_AS or RLIMIT_DATA, or lower --max-connections"},
        {"EMFILE", "raise RLIMIT_NOFILE (LimitNOFILE=, ulimit -n)"},
        {"ENFILE", "raise fs.file-max, or end what holds so many files"},
        {"EFBIG", "raise RLIMIT_FSIZE (LimitFSIZE=, ulimit -f), which counts memory files, too"},
    };
    const FatalText parts = split_fatal(message);
    for (const auto& [error, cure] : cures) {
        if (parts.error == error && parts.cure.empty()) {
            return cure;
        }
    }
    return {};
}

void log_fatal_error(Log& log, ExitCode code, std::string_view message) {
    const FatalText parts = split_fatal(message);
    const std::int64_t now = realtime_ns();
    Record record = log.record(Level::error, "fatal", now);
    record.text("process", log.process()).number("exit", static_cast<int>(code)).text("message", message);
    record.text("step", parts.step);
    if (!parts.error.empty()) {
        record.text("errno", parts.error);
    }
    if (!parts.cure.empty()) {
        record.text("cure", parts.cure);
    }
    log.add(record, now);
    log.flush_for_the_last_time();
}

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
