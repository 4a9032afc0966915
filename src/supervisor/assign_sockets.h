// SPDX-License-Identifier: MIT
#pragma once

#include "config/model.h"
#include "supervisor/sockets.h"

#include <span>

namespace cloister::supervisor {

/// Which passed socket is whose, in the order of `services`. One service gets all of them, whatever their
/// names. Of several each gets those that have its name (LISTEN_FDNAMES, FileDescriptorName= of
/// systemd.socket(5)). Failure, with ExitCode::Config: a socket is nobody's, or a service has neither a
/// socket nor an address.
[[nodiscard]] tl::expected<std::vector<Activation>, Failure>
assign_sockets(Activation passed, std::span<const config::Service> services);

} // namespace cloister::supervisor
