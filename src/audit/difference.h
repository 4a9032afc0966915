// SPDX-License-Identifier: MIT
#pragma once

#include "policy/combine.h"
#include "policy/meaning.h"

#include <variant>

/// What two filters decide differently, whatever they are made of.
namespace cloister::audit {

/// A policy, the policies of one filter, or the filters of a process (oldest first; one for a file of bytes).
using Subject = std::variant<policy::Policy, policy::Combined, std::vector<policy::Program>>;

enum class Direction { narrower, wider, other }; ///< of the new one; other: as strict, but not the same

/// Of calls that one number names, with one ABI, from one call site: some that go from one action to another.
struct Change {
    std::string site; ///< "at $NAME" or "elsewhere"; empty: there are no call sites, or it is in the witness
    std::string call; ///< "recvfrom", "i386:close", "x86_64:calls without a name", "calls of other ABIs"
    Direction direction{};
    policy::Action before;
    policy::Action after;
    policy::Call witness; ///< one such call, and the values of open parameters under which it was found
    std::vector<std::string> params; ///< the names of these parameters, without the $
};

/// What differs, by site and call; empty: they are equal. Every parameter of a text that is not in `bindings`
/// is open, which speaks for all its values; two texts have those of one name in common. Where one side is
/// bytes, each parameter must be bound. Calls that a kernel for that processor
/// cannot get do not count: of other ABIs, or of i386 with arguments of more than 32 bits. Throws what
/// Meaning and Diagram throw, and policy::Error.
[[nodiscard]] std::vector<Change> difference(const Subject& before, const Subject& after, policy::Arch arch,
                                             const policy::Bindings& bindings);

/// What it makes of that one call.
[[nodiscard]] policy::Action decided(const Subject& subject, policy::Arch arch,
                                     const policy::Bindings& bindings, const seccomp_data& call);
/// "FILE:LINE" of the rule that decides it; empty: else, or there is no text.
[[nodiscard]] std::string deciding_rule(const Subject& subject, std::string_view site, policy::Arch arch,
                                        const policy::Bindings& bindings, const seccomp_data& call);

} // namespace cloister::audit
