// SPDX-License-Identifier: MIT
#pragma once

#include "supervisor/generation.h"
#include "supervisor/limits.h"
#include "supervisor/log.h"
#include "supervisor/state_machine.h"

#include <span>

namespace cloister::supervisor {

/// What of the system binds before the connections of all services together do.
[[nodiscard]] std::vector<Bound> bounds_of(std::span<const std::shared_ptr<Setup>> setups);
/// Says so.
void report_limits(Log& log, std::span<const std::shared_ptr<Setup>> setups, const std::vector<Bound>& found);

/// Says that the source table is smaller than it should be.
void report_small_table(Log& log, const Setup& setup);

/// Says which buffers the kernel made smaller than --socket-buffer.
void report_capped_buffers(Log& log, const Setup& setup);

void report_ready(Log& log, unsigned number, unsigned listener, const Generation& generation);

/// What our client of a public socket, whose exchange is over, has found.
[[nodiscard]] event::Reached reached(Id id, std::size_t index, const ListeningSocket& socket,
                                     const Exchange& exchange);

/// Of a socket whose client of ours was not served.
[[nodiscard]] std::string busy_text(const ListeningSocket& socket);

} // namespace cloister::supervisor
