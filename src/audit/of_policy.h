// SPDX-License-Identifier: MIT
#pragma once

#include "audit/export.h"
#include "audit/model.h"

namespace cloister::audit {

/// The policy as a Model, in which rules of different actions do not overlap. A condition on a parameter that
/// is not bound, or on an argument that other ABIs of the policy have in another register, is left out, and
/// `result` says so.
[[nodiscard]] Model model_of(const policy::Policy& policy, policy::Arch arch,
                             const policy::Bindings& bindings, Exported& result);

} // namespace cloister::audit
