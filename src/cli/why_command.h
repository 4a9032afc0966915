// SPDX-License-Identifier: MIT
#pragma once

#include "cli/policy_commands.h"

#include <string>

namespace cloister::tool {

/// `record` is one line, or "-": the lines of standard input. Of the question: file (empty: no policy is
/// asked), handler, json, unchecked.
[[nodiscard]] int policy_why(const std::string& record, const Question& question);

} // namespace cloister::tool
