// SPDX-License-Identifier: MIT
#pragma once

#include "policy/combine.h"

#include <optional>

/// The addresses that a filter was made for, found in its bytes. What is found here is a guess until it is
/// proved: a filter is equivalent to its policies for the right addresses and for no others.
namespace cloister::audit {

/// Compiles the policies for addresses of which no two words are alike, and reads the real ones from where
/// these stand in the program. Nothing, where the program is not made of the same instructions.
[[nodiscard]] std::optional<policy::Bindings> bindings_in(const policy::Combined& policies, policy::Arch arch,
                                                          const policy::Program& program);

/// The same of a filter of one policy.
[[nodiscard]] std::optional<policy::Bindings> bindings_in(const policy::Policy& policy, policy::Arch arch,
                                                          const policy::Program& program);

/// The values of the parameters of `at` alone, by the comparisons of the instruction pointer at the start of
/// a combined filter.
[[nodiscard]] std::optional<policy::Bindings> call_sites_in(const policy::Combined& policies,
                                                            const policy::Program& program);

} // namespace cloister::audit
