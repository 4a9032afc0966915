// SPDX-License-Identifier: MIT
#pragma once

#include "policy/evaluate.h"
#include "scripted/kernel.h"

namespace cloister::scripted {

/// What the policy's own text says of that call, wherever it comes from.
[[nodiscard]] inline bool allows(const policy::Policy& policy, const policy::Bindings& bindings,
                                 const Call& call) {
    seccomp_data data{};
    data.nr = static_cast<int>(call.number);
    data.arch = policy::audit_arch(policy::abi_of(policy::native_arch));
    for (std::size_t i = 0; i < call.arguments.size(); ++i) {
        data.args[i] = static_cast<std::uint64_t>(call.arguments[i]);
    }
    return policy::evaluate(policy, policy::native_arch, bindings, data).action.kind ==
           policy::Action::Kind::allow;
}

} // namespace cloister::scripted
