// SPDX-License-Identifier: MIT
#pragma once

#include "policy/meaning.h"
#include "policy/policy.h"

#include <exception>
#include <linux/filter.h>
#include <span>

/// Proofs, complete over every number, ABI and value. An error's message shows a call on which the two sides
/// differ.
namespace cloister::policy {

struct Combined; // combine.h

/// The tests of the policy hold, rules that overlap agree, and the policy allows no more than `under`, for
/// all addresses that the parameters may be bound to. `under` is null only when the policy names none.
[[nodiscard]] tl::expected<void, Error> check(const Policy& policy, const Policy* under);

/// The program is equivalent to the text, for every instruction pointer (`at` is for combined policies). Does
/// not use libseccomp. Instructions other than those that libseccomp emits (word loads, JEQ, JGT, JGE, JSET,
/// AND, JA, RET, all with constants) are refused.
[[nodiscard]] tl::expected<void, Error> prove(const Policy& policy, Arch arch, const Bindings& bindings,
                                              std::span<const sock_filter> program);

/// A proof ended with that exception: out of memory, or too large to be decided.
[[nodiscard]] Error cannot_be_proved(const Policy& policy, const std::exception& why);

/// The same for many programs against one policy.
class Prover {
  public:
    static tl::expected<Prover, Error> make(const Policy& policy, Arch arch, const Bindings& bindings);
    static tl::expected<Prover, Error> make(const Combined& combined, Arch arch, const Bindings& bindings);
    /// A call on which text and bytes differ, or nothing. Throws std::invalid_argument, Diagram::TooLarge:
    /// unprovable.
    [[nodiscard]] std::optional<Call> difference(std::span<const sock_filter> program);

  private:
    Prover(Meaning meaning, Meaning::Node text) : meaning_{std::move(meaning)}, text_{text} {}
    Meaning meaning_;
    Meaning::Node text_;
};

/// Text and program differ on that call: an error of the policy that applies to it.
[[nodiscard]] Error difference_at(const Policy& policy, Arch arch, const Bindings& bindings,
                                  const seccomp_data& call, std::span<const sock_filter> program,
                                  std::string_view described);

/// Calls that fit the pattern, one for which the policy's action is allow and one for which it is not, where
/// there are such. Every parameter must be bound.
struct Examples {
    std::optional<Call> allowed;
    std::optional<Call> refused;
};
[[nodiscard]] tl::expected<Examples, Error> examples(const Policy& policy, const Pattern& pattern, Arch arch,
                                                     const Bindings& bindings);

/// "recvfrom(fd=0, buf=0x1000, len=65537, flags=0, addr=0, addrlen=0) on x86_64"
[[nodiscard]] std::string describe(const seccomp_data& call);
/// "allow", "kill-process", "errno EPERM", or the number
[[nodiscard]] std::string describe_return(std::uint32_t value);

} // namespace cloister::policy
