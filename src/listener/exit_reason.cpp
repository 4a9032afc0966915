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
        return {"closed", Level::info, false};
    case Exit::Idle:
        return {"idle", Level::info, false};
    case Exit::Stalled:
        return {"stalled", Level::info, false};
    case Exit::Reset:
        return {"reset", Level::info, false};
    case Exit::Resources:
        return {"resources", Level::warning, false};
    case Exit::Bug:
        return {"bug", Level::error, false};
    case Exit::Descriptors:
        return {"setup-descriptors", Level::error, true};
    case Exit::DeathSignal:
        return {"setup-death-signal", Level::error, true};
    case Exit::Orphan:
        return {"setup-orphan", Level::error, true};
    case Exit::CpuLimit:
        return {"setup-cpu-limit", Level::error, true};
    case Exit::Lifetime:
        return {"setup-lifetime", Level::error, true};
    case Exit::Capabilities:
        return {"setup-capabilities", Level::error, true};
    case Exit::SetupPage:
        return {"setup-page", Level::error, true};
    }
    return {"unknown", Level::error, false};
}

} // namespace

ExitReason exit_reason_of(int wait_status, bool ended_by_us) {
    if (WIFEXITED(wait_status)) {
        return reason_of_exit(WEXITSTATUS(wait_status));
    }
    switch (WTERMSIG(wait_status)) {
    case SIGKILL:
        return ended_by_us ? ExitReason{"ended", Level::info, false}
                           : ExitReason{"killed", Level::warning, false};
    case SIGALRM:
        return {"lifetime", Level::info, false};
    case SIGXCPU:
        return {"cpu", Level::warning, false};
    case SIGSYS:
        return {"violation", Level::error, false};
    default:
        return {"crashed", Level::error, false};
    }
}

} // namespace cloister::listener
