// SPDX-License-Identifier: MIT
#include "listener/speculation.h"

#include "base/die.h"

#include <cerrno>
#include <linux/prctl.h>
#include <sys/prctl.h>

namespace cloister::listener {
namespace {

using control::SpeculationState;

SpeculationState limit(const SpeculationCalls& calls, unsigned long kind, const char* what) {
    constexpr unsigned by_us = PR_SPEC_PRCTL | PR_SPEC_FORCE_DISABLE;
    const int answer = calls.get(kind);
    if (answer < 0) {
        return SpeculationState::Unknown;
    }
    const auto is = static_cast<unsigned>(answer);
    if (is == PR_SPEC_NOT_AFFECTED) {
        return SpeculationState::NotAffected;
    }
    if ((is & PR_SPEC_PRCTL) == 0) {
        return (is & (PR_SPEC_DISABLE | PR_SPEC_FORCE_DISABLE)) != 0 ? SpeculationState::Disabled
                                                                     : SpeculationState::Vulnerable;
    }
    if (calls.disable(kind) != 0) {
        die(ExitCode::NotPermitted, "cannot disable %s: prctl: %s", what, error_text(errno));
    }
    if (calls.get(kind) != static_cast<int>(by_us)) {
        die(ExitCode::SelfTest, "asked to disable %s, the kernel did not", what);
    }
    return SpeculationState::Disabled;
}

} // namespace

const SpeculationCalls speculation_of_the_kernel{
    [](unsigned long kind) { return prctl(PR_GET_SPECULATION_CTRL, kind, 0, 0, 0); },
    [](unsigned long kind) { return prctl(PR_SET_SPECULATION_CTRL, kind, PR_SPEC_FORCE_DISABLE, 0, 0); }};

control::Speculation limit_speculation(const SpeculationCalls& calls) {
    return {limit(calls, PR_SPEC_STORE_BYPASS, "the speculative bypass of stores"),
            limit(calls, PR_SPEC_INDIRECT_BRANCH, "the speculation of indirect branches")};
}

} // namespace cloister::listener
