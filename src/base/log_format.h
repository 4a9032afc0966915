// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

namespace cloister {

/// How records are written: one JSON object (RFC 8259) or `key=value` pairs a line.
enum class LogFormat : std::uint8_t { json, logfmt };

} // namespace cloister
