// SPDX-License-Identifier: MIT
#pragma once

#include "policy/compile.h"
#include "policy/evaluate.h"
#include "policy/prove.h"

/// Policies that share one program, which several processes run under. Which of them speaks of a call is
/// decided by the instruction pointer that seccomp sees: the address after the system-call instruction. A
/// call is thus worth what the place is worth from which it is made, and a process loses a policy for good
/// when it loses the memory (mapped, executable) of that place.
namespace cloister::policy {

struct Combined {
    std::vector<Policy> places; ///< each speaks of calls from where its `at` says; sorted by name
    Policy elsewhere;           ///< has no `at`: it speaks of calls from everywhere else
};

/// Refuses: none or two without `at`, a name or a place that is there twice, different else actions, and a
/// rule that could bring back a place, such as one that allows mmap.
[[nodiscard]] tl::expected<Combined, Error> combine(std::vector<Policy> policies);

/// Bindings hold the parameters of all: each policy takes those that it has. Refused, here and by what
/// follows, are a parameter that is not bound, a binding that no policy has, two places at one address, an
/// ABI that one of them does not list.
[[nodiscard]] tl::expected<void, Error> check_bindings(const Combined& combined, Arch arch,
                                                       const Bindings& bindings);

/// First the ABI, then the place, then that policy as compile() makes it.
[[nodiscard]] tl::expected<Program, Error> compile(const Combined& combined, Arch arch,
                                                   const Bindings& bindings);

/// These bytes return, from each place, what the text of its policy says, and from every other address what
/// the remaining one says. The error is of the policy that speaks of the call it shows.
[[nodiscard]] tl::expected<void, Error> prove(const Combined& combined, Arch arch, const Bindings& bindings,
                                              std::span<const sock_filter> program);

/// The policy that speaks of calls from there. A place that is not bound is nowhere.
[[nodiscard]] const Policy& policy_at(const Combined& combined, const Bindings& bindings,
                                      std::uint64_t instruction_pointer);
/// What its text says of that call.
[[nodiscard]] Verdict evaluate(const Combined& combined, Arch arch, const Bindings& bindings,
                               const seccomp_data& call);
/// "close(fd=0) on x86_64 at $listener_return (0x1000)", "... elsewhere (0x0)"
[[nodiscard]] std::string describe(const Combined& combined, const Bindings& bindings,
                                   const seccomp_data& call);

/// A compiled program, and which of its instructions come from which policy.
struct Part {
    const Policy* policy; ///< of the Combined; null: the prologue, which finds out where the call comes from
    std::size_t first;
    std::size_t size;
};
struct Assembly {
    Program program;
    std::vector<Part> parts; ///< in order, without gaps
};
[[nodiscard]] tl::expected<Assembly, Error> assemble(const Combined& combined, Arch arch,
                                                     const Bindings& bindings);

/// All of them in the order of their names, the one without `at` last.
[[nodiscard]] std::vector<const Policy*> all_of(const Combined& combined);

} // namespace cloister::policy
