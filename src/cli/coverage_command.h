// SPDX-License-Identifier: MIT
#pragma once

#include "cli/policy_commands.h"

#include <string>
#include <vector>

namespace cloister::tool {

/// `logs`: files of strace, such as those of one run with -ff.
[[nodiscard]] int policy_coverage(const Question& question, const std::vector<std::string>& logs);

} // namespace cloister::tool
