// SPDX-License-Identifier: MIT
#pragma once

#include "policy/policy.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <optional>
#include <span>

/// Two interpreters for single calls, which share no code: one of bytes, one of text.
namespace cloister::policy {

/// What the program returns for that call, or nothing for an instruction that is not supported here.
[[nodiscard]] std::optional<std::uint32_t> run(std::span<const sock_filter> program,
                                               const seccomp_data& call);

struct Verdict {
    Action action;
    const Rule* rule = nullptr; ///< the rule that decided; null: else
};

/// The action of the text for that call, in the filter for that ABI. Of rules that contradict each other
/// (check() refuses them) the strictest counts, and of these the first.
[[nodiscard]] Verdict evaluate(const Policy& policy, Arch arch, const Bindings& bindings,
                               const seccomp_data& call);

/// Whether the condition holds for an argument; `value` is that of its operand.
[[nodiscard]] bool holds(const Condition& condition, std::uint64_t argument, std::uint64_t value);

/// The first condition of the rule (an index) that the call does not meet, or nothing.
[[nodiscard]] std::optional<std::size_t> failing_condition(const Policy& policy, const Rule& rule, Arch arch,
                                                           const Bindings& bindings,
                                                           const seccomp_data& call);

} // namespace cloister::policy
