// SPDX-License-Identifier: MIT
#pragma once

#include "base/exit_code.h"

#include <string>

namespace cloister::supervisor {

struct Failure {
    ExitCode code;
    std::string message; ///< one sentence: what was asked, what the kernel said, the cure
};

} // namespace cloister::supervisor
