// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

namespace cloister {

/// All signals get their default action, whatever was inherited (exec keeps what is ignored: signal(7)), and
/// exactly `blocked` (bit n-1 = signal n) is blocked. There is no signal handler anywhere in cloister. Reads
/// it back and dies if it is not so.
void reset_signals(std::uint64_t blocked);

} // namespace cloister
