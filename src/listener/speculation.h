// SPDX-License-Identifier: MIT
#pragma once

#include "control/speculation.h"

namespace cloister::listener {

/// The two calls, for tests to answer. `kind`: PR_SPEC_STORE_BYPASS, PR_SPEC_INDIRECT_BRANCH. As prctl(2).
struct SpeculationCalls {
    int (*get)(unsigned long kind);
    int (*disable)(unsigned long kind); ///< PR_SPEC_FORCE_DISABLE
};
extern const SpeculationCalls speculation_of_the_kernel;

/// Disables, for good, what the kernel lets a process disable of the processor's speculation. Cells inherit
/// that, so that code that a client has brought into one does not train what another one executes. Reads it
/// back (Documentation/userspace-api/spec_ctrl.rst). Dies where the kernel offers it and then does not do it.
[[nodiscard]] control::Speculation
limit_speculation(const SpeculationCalls& calls = speculation_of_the_kernel);

} // namespace cloister::listener
