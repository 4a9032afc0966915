// SPDX-License-Identifier: MIT
#include "listener/exit_reason.h"

#include "cell/cell.h"

#include <csignal>
#include <sys/wait.h>

namespace cloister::listener {
namespace {

ExitReason reason_of_exit(int code) {
    using cell::Exit;
    switch (static_cast<Exit>(code)) {
    case Exit::Done:
        return ExitReason::Closed;
    case Exit::Idle:
        return ExitReason::Idle;
    case Exit::Stalled:
        return ExitReason::Stalled;
    case Exit::Reset:
        return ExitReason::Reset;
    case Exit::Resources:
        return ExitReason::Resources;
    case Exit::Bug:
        return ExitReason::Bug;
    case Exit::Descriptors:
        return ExitReason::SetupDescriptors;
    case Exit::DeathSignal:
        return ExitReason::SetupDeathSignal;
    case Exit::Orphan:
        return ExitReason::SetupOrphan;
    case Exit::CpuLimit:
        return ExitReason::SetupCpuLimit;
    case Exit::Lifetime:
        return ExitReason::SetupLifetime;
    case Exit::SetupPage:
        return ExitReason::SetupPage;
    }
    return ExitReason::Unknown;
}

} // namespace

ExitReason exit_reason_of(int wait_status, bool ended_by_us) {
    if (WIFEXITED(wait_status)) {
        return reason_of_exit(WEXITSTATUS(wait_status));
    }
    switch (WTERMSIG(wait_status)) {
    case SIGKILL:
        return ended_by_us ? ExitReason::Ended : ExitReason::Killed;
    case SIGALRM:
        return ExitReason::Lifetime;
    case SIGXCPU:
        return ExitReason::Cpu;
    case SIGSYS:
        return ExitReason::Violation;
    default:
        return ExitReason::Crashed;
    }
}

} // namespace cloister::listener
