// SPDX-License-Identifier: MIT
#pragma once

#include "policy/compile.h"

#include <string>

namespace cloister::tool {

/// One line for each instruction: its index, what it does, and what its constant stands for where that is
/// certain.
[[nodiscard]] std::string listing(const policy::Program& program, policy::Arch arch);

} // namespace cloister::tool
