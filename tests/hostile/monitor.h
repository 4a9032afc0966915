// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

/// What the client of a hostile cell orders it to do. It stands for whatever code an attacker may run
/// there.
namespace cloister::hostile {

inline constexpr std::uint64_t magic =
    0x21'4b'43'41'54'54'41'21; // anything else is echoed: the self-test must pass

enum class Action : std::uint64_t {
    Where,         ///< reply: the address of the buffer, below which the stack lies
    SetupCallSite, ///< reply: the address of the setup call site
    Content,       ///< reply: where the content lies, if there is any
    Peek,          ///< reply: the 8 bytes at arguments[0]
    Poke,          ///< stores arguments[1] at arguments[0]; reply: 0
    Call,          ///< system call arguments[0] with arguments[1..6]; reply: its result
    Jump, ///< runs the instructions at target, arguments[0..6] in place as for Call; reply: its result
    Spin, ///< for ever
};

struct Order {
    std::uint64_t magic;
    Action action;
    std::uint64_t arguments[7];
    std::uint64_t target;
    std::uint64_t
        expected; ///< reply: of a cell that can't send it, which ends with Exit::Stalled if it is another
};

using Reply = std::uint64_t;

} // namespace cloister::hostile
