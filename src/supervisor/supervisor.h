// SPDX-License-Identifier: MIT
#pragma once

#include "config/options.h"
#include "supervisor/oom_score.h"
#include "supervisor/sockets.h"

namespace cloister::supervisor {

/// cloisterd, from its options on: proves the policies, binds, gives up its privileges, and keeps a listener
/// running until it is told to stop. Returns what to exit with; errors, that of `activation` too, are said on
/// stderr.
[[nodiscard]] ExitCode run(const config::Config& config, tl::expected<Activation, Failure> activation,
                           const OomScore& oom_score);

} // namespace cloister::supervisor
