// SPDX-License-Identifier: MIT
#pragma once

#include "audit/filters.h"
#include "policy/combine.h"
#include "policy/meaning.h"

/// What the kernel decides for a process with several filters, and whether that is what a text or other
/// filters say.
namespace cloister::audit {

/// A call, and what is done with it on both sides.
struct Difference {
    seccomp_data call;
    std::uint32_t wanted;
    std::uint32_t is;
};
/// Equal: nothing. It cannot tell what the prover cannot decide.
[[nodiscard]] Told<std::optional<Difference>> difference(const Filters& filters, const Filters& wanted);
[[nodiscard]] Told<std::optional<Difference>> difference(const Filters& filters, const policy::Policy& wanted,
                                                         policy::Arch arch, const policy::Bindings& bindings);
/// Takes one filter: the text of a combined filter is for one.
[[nodiscard]] Told<std::optional<Difference>> difference(const Filters& filters,
                                                         const policy::Combined& wanted, policy::Arch arch,
                                                         const policy::Bindings& bindings);

} // namespace cloister::audit
