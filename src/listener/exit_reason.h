// SPDX-License-Identifier: MIT
#pragma once

#include "base/log_names.h"

namespace cloister::listener {

/// The exit reason as far as wait4(2) shows it: an exit code is a claim of the cell (cell::Exit), and of a
/// signal the sender is not known. Root and processes of the same user may send any.
/// `wait_status` as of wait4(2). `ended_by_us`: we have sent SIGKILL.
[[nodiscard]] ExitReason exit_reason_of(int wait_status, bool ended_by_us);

} // namespace cloister::listener
