// SPDX-License-Identifier: MIT
#pragma once

#include "config/options.h"
#include "supervisor/install.h"
#include "supervisor/oom_score.h"
#include "supervisor/reload.h"

namespace cloister::supervisor {

/// cloisterd, from its options on: proves the policies, binds, gives up its privileges, and keeps a listener
/// of each service running until it is told to stop. `read_config`: for a reload. Returns what to exit with;
/// errors, that of `activation` too, are said on stderr.
[[nodiscard]] ExitCode run(
    const config::Config& config, tl::expected<Activation, Failure> activation, const OomScore& oom_score,
    const ReadConfig& read_config, const OpenBinary& open_binary = [](const config::Service& service) {
        return open_listener_binary(service.handler);
    });

} // namespace cloister::supervisor
