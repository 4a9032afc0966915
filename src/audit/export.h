// SPDX-License-Identifier: MIT
#pragma once

#include "audit/import.h"
#include "policy/policy.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// A policy in the forms of other tools. Pure.
namespace cloister::audit {

struct Exported {
    Verdict verdict = Verdict::exact;
    std::string text;                  ///< empty when refused
    std::vector<std::string> wider;    ///< what it allows or refuses more mildly than the policy
    std::vector<std::string> narrower; ///< what it refuses, or refuses more harshly
    std::vector<std::string> refused;  ///< why there is no text
    std::vector<std::string> notes;
};

enum class Target { oci, systemd, minijail, kafel, seccompiler, c };
[[nodiscard]] std::optional<Target> target_named(std::string_view name);
[[nodiscard]] std::string_view to_string(Target target);
/// What its file ends in, ".oci.json".
[[nodiscard]] std::string_view suffix(Target target);

/// For one processor, with the ABIs of the same kernel that the policy lists. A parameter that is not bound
/// becomes 'any', except for Target::c, which is refused then. What is exact, and what import_policy() can
/// read, was imported again and proved to mean the same.
[[nodiscard]] Exported export_policy(const policy::Policy& policy, policy::Arch arch,
                                     const policy::Bindings& bindings, Target target);

/// A call that the two treat differently, described, or nothing. Both have the parameters of `bindings`.
[[nodiscard]] std::optional<std::string> first_difference(const policy::Policy& a, const policy::Policy& b,
                                                          policy::Arch arch,
                                                          const policy::Bindings& bindings);

} // namespace cloister::audit
