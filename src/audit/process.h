// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <sys/types.h>
#include <tl/expected.hpp>
#include <vector>

/// What /proc says about another process (proc(5)). Nothing here stops or changes it.
namespace cloister::audit {

/// Why a question about a process has no answer, and what to do about it.
struct CannotTell {
    std::string why;
    bool gone = false; ///< the process has ended
};
template <class T>
using Told = tl::expected<T, CannotTell>;

/// The fields of /proc/PID/status (proc_pid_status(5)), values without leading blanks, and the rest of what
/// identifies a thread.
struct Status {
    pid_t pid = 0; ///< as asked for: a process or a thread
    std::map<std::string, std::string, std::less<>> fields;
    std::uint64_t start = 0; ///< in clock ticks after boot: with the number, unique
    bool kernel_thread = false;

    /// Empty: this kernel has no such field.
    [[nodiscard]] std::string text(std::string_view field) const;
    /// The first number of the field, or -1.
    [[nodiscard]] long number(std::string_view field) const;
    [[nodiscard]] std::string name() const { return text("Name"); }
    [[nodiscard]] char state() const; ///< R, S, D, T, t, Z, X; proc_pid_stat(5)
};
[[nodiscard]] Told<Status> status_of(pid_t pid);

/// The threads of a process, in the order of their numbers.
[[nodiscard]] Told<std::vector<pid_t>> threads_of(pid_t pid);
/// The children of every process that is seen here, by one look at all of /proc: the kernel's own list
/// (/proc/PID/task/TID/children) may leave some out while others end (proc_tid_children(5)).
using Children = std::map<pid_t, std::vector<pid_t>>;
[[nodiscard]] Children children_of_all();

/// A line of /proc/PID/maps (proc_pid_maps(5)).
struct Mapping {
    std::uint64_t start = 0;
    std::uint64_t end = 0;
    std::string permissions; ///< "r-xp"
    std::string name;        ///< a file, "[stack]", or nothing
    [[nodiscard]] bool holds(std::uint64_t address) const { return start <= address && address < end; }
};
[[nodiscard]] Told<std::vector<Mapping>> mappings_of(pid_t pid);

struct Descriptor {
    int number = 0;
    std::string what; ///< "socket:[4711]", "/dev/null"
};
[[nodiscard]] Told<std::vector<Descriptor>> descriptors_of(pid_t pid);

/// The file that it executes. " (deleted)" at the end: replaced since.
[[nodiscard]] Told<std::string> program_of(pid_t pid);

/// Its arguments, separated by blanks.
[[nodiscard]] Told<std::string> command_line_of(pid_t pid);

/// Bytes of its memory.
[[nodiscard]] Told<std::string> memory_of(pid_t pid, std::uint64_t address, std::size_t size);

/// The names of the capabilities that it has in each of its five sets, "effective" and so on (libcap-ng).
[[nodiscard]] Told<std::map<std::string, std::vector<std::string>>> capabilities_of(pid_t pid);

/// What may be asked of this process at all: it is there, is no zombie, no kernel thread, and not ourselves.
[[nodiscard]] Told<Status> expect_living(pid_t pid);

} // namespace cloister::audit
