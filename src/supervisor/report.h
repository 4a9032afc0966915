// SPDX-License-Identifier: MIT
#pragma once

#include "supervisor/generation.h"
#include "supervisor/log.h"
#include "supervisor/state_machine.h"

#include <span>

namespace cloister::supervisor {

/// Says what of the system binds before our own limits do. Returns how many connections each service may
/// have: the limits are those of all services together.
[[nodiscard]] std::vector<unsigned> report_limits(Log& log, std::span<const std::shared_ptr<Setup>> setups);

/// Says that the source table is smaller than it should be.
void report_small_table(Log& log, const Setup& setup);

/// Says which buffers the kernel made smaller than --socket-buffer.
void report_capped_buffers(Log& log, const Setup& setup);

void report_ready(Log& log, unsigned number, const Generation& generation);

/// What our client of a public socket, whose exchange is over, has found.
[[nodiscard]] event::Reached reached(Id id, std::size_t index, const ListeningSocket& socket,
                                     const Exchange& exchange);

/// Of a socket whose client of ours was not served.
[[nodiscard]] std::string busy_text(const ListeningSocket& socket);

} // namespace cloister::supervisor
