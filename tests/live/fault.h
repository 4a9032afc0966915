// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <ostream>

namespace cloister::live {

inline constexpr int faked = 0; ///< success is reported, and nothing was done

/// A system call that fails, or is faked, and how the program must end of it.
struct Fault {
    const char* name;
    long call;
    int argument;        ///< -1: whatever the arguments
    std::uint32_t value; ///< of the argument
    int error;           ///< errno, or faked
    int exit_code;
    const char* said; ///< a regular expression for stderr
    bool needs_root = false;
    int landlock_abi = 0; ///< which it needs
};

inline void PrintTo(const Fault& fault, std::ostream* out) {
    *out << fault.name;
}

/// For a forked child: makes what a program inherits from whoever starts it, so that it has something to give
/// up. An ignored signal; as root a group and inheritable capabilities, too.
void hold_what_must_be_given_up();

/// For a forked child, from here on: a seccomp filter answers `fault.call` with its error, everything else
/// the kernel.
void answer_in_the_kernels_place(const Fault& fault);

} // namespace cloister::live
