// SPDX-License-Identifier: MIT
#pragma once

#include "supervisor/options.h"

#include <filesystem>

namespace cloister::supervisor {

/// Where things are, from where cloisterd itself is: no path is compiled in.
/// In a build tree (CMakeCache.txt above bin/): the listener beside cloisterd, the policies of the sources.
/// Installed (PREFIX/bin or PREFIX/sbin): PREFIX/libexec/cloister/cloister-listener,
/// PREFIX/share/cloister/policy.
[[nodiscard]] std::filesystem::path listener_path();
[[nodiscard]] Surroundings installed_surroundings();

} // namespace cloister::supervisor
