// SPDX-License-Identifier: MIT
#pragma once

#include "policy/compile.h"
#include "policy/evaluate.h"
#include "policy/prove.h"

/// Policies that share one filter program, which several processes run under. The instruction pointer that
/// seccomp sees, the address behind the system call instruction, decides which of them applies to a call. A
/// process that has lost the executable memory of a call site has lost that policy.
namespace cloister::policy {

struct Combined {
    std::vector<Policy> at_call_sites; ///< each applies to calls from its `at`; sorted by name
    Policy elsewhere;                  ///< has no `at`: it applies to all other calls
};

/// Refuses: none or two without `at`, a name or a call site that is there twice, different else actions, and
/// a rule that allows a call which could map a lost call site again, such as mmap.
[[nodiscard]] tl::expected<Combined, Error> combine(std::vector<Policy> policies);

/// Bindings hold the parameters of all: each policy takes those that it has. Refused, here and by what
/// follows, are a parameter that is not bound, a binding that no policy has, two call sites at one address,
/// an ABI that one of them does not list.
[[nodiscard]] tl::expected<void, Error> check_bindings(const Combined& combined, Arch arch,
                                                       const Bindings& bindings);

/// First the ABI, then the call site, then that policy as compile() makes it.
[[nodiscard]] tl::expected<Program, Error> compile(const Combined& combined, Arch arch,
                                                   const Bindings& bindings);

/// The program returns, for calls from each call site, the action of its policy, and for calls from every
/// other address that of the remaining one. The error is one of the policy that applies to the call it shows.
[[nodiscard]] tl::expected<void, Error> prove(const Combined& combined, Arch arch, const Bindings& bindings,
                                              std::span<const sock_filter> program);

/// The policy that applies to calls from there. A call site that is not bound matches no address.
[[nodiscard]] const Policy& policy_at(const Combined& combined, const Bindings& bindings,
                                      std::uint64_t instruction_pointer);
/// Its action for that call, by the text.
[[nodiscard]] Verdict evaluate(const Combined& combined, Arch arch, const Bindings& bindings,
                               const seccomp_data& call);
/// "close(fd=0) on x86_64 at $listener_return (0x1000)", "... elsewhere (0x0)"
[[nodiscard]] std::string describe(const Combined& combined, const Bindings& bindings,
                                   const seccomp_data& call);

/// A compiled program, and which of its instructions come from which policy.
struct Part {
    const Policy* policy; ///< of the Combined; null: the prologue, which compares ABI and instruction pointer
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
