// SPDX-License-Identifier: MIT
#pragma once

#include "control/operator.h"
#include "supervisor/setup.h"

namespace cloister::supervisor {

[[nodiscard]] control::Rate rate_of(const config::RateLimit& limit);

/// What a new connection of `whole`, one client, would meet at this service: the same checks in the same
/// order as listener::Admission::admit(), but nothing is counted. Those that need its port are left out.
[[nodiscard]] control::Reply::Verdict verdict_of(const Setup& setup, const control::Source& whole,
                                                 std::uint64_t now_ns);

} // namespace cloister::supervisor
