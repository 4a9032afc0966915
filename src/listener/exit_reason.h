// SPDX-License-Identifier: MIT
#pragma once

#include "base/log_names.h"

namespace cloister::listener {

/// What the kernel told us of a connection's end, and no more: an exit code is what the cell says
/// (cell::Exit), a signal says which and not who sent it. Root and processes of our user may send any.
/// `wait_status` as of wait4(2). `ended_by_us`: we have sent SIGKILL.
[[nodiscard]] ExitReason exit_reason_of(int wait_status, bool ended_by_us);

} // namespace cloister::listener
