// SPDX-License-Identifier: MIT
#pragma once

#include <string>

namespace cloister::supervisor {

inline constexpr const char* version = CLOISTER_VERSION;

/// The versions of the libraries, a line each; and whether this build is instrumented, for tests only.
[[nodiscard]] std::string build_notes();

} // namespace cloister::supervisor
