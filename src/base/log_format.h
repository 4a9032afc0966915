// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

namespace cloister {

/// How records are written: one JSON object (RFC 8259) or `key=value` pairs a line.
enum class LogFormat : std::uint8_t { json, logfmt };

/// Levels by their number in syslog(3).
enum class Level : std::uint8_t { error = 3, warning = 4, notice = 5, info = 6, debug = 7 };

} // namespace cloister
