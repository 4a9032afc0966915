// SPDX-License-Identifier: MIT
#pragma once

#include "config/options.h"
#include "supervisor/handover.h"
#include "supervisor/install.h"
#include "supervisor/oom_score.h"
#include "supervisor/reload.h"

namespace cloister::supervisor {

/// What main has found before it read the configuration, and what a reload and an upgrade need.
struct Beginning {
    tl::expected<Activation, Failure> activation;
    std::optional<Handover> handover; ///< of an earlier program of this process, in place of sockets
    const OomScore& oom_score;
    ReadConfig read_config;
    Invocation invocation;
    OpenBinary open_binary = [](const config::Service& service) {
        return open_listener_binary(service.handler);
    };
};

/// cloisterd, from its options on: proves the policies, binds, gives up its privileges, and keeps a listener
/// of each service running until it is told to stop. Returns what to exit with; errors, that of the
/// activation too, are said on stderr.
[[nodiscard]] ExitCode run(const config::Config& config, Beginning beginning);

} // namespace cloister::supervisor
