// SPDX-License-Identifier: MIT
#pragma once

#include "base/record.h"

#include <string_view>

namespace cloister::listener {

/// What the log says of a connection's end.
struct ExitReason {
    /// What the kernel told us, and no more: an exit code is what the cell says (cell::Exit), a signal says
    /// which and not who sent it. Root and processes of our user may send any.
    std::string_view reason;
    Level level;
    bool failed_setup; ///< the cell could not be confined and has received nothing
};

/// `wait_status` as of wait4(2). `ended_by_us`: we have sent SIGKILL.
[[nodiscard]] ExitReason exit_reason_of(int wait_status, bool ended_by_us);

} // namespace cloister::listener
