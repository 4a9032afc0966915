// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <sys/types.h>
#include <vector>

namespace cloister::tool {

struct VerifyQuestion {
    pid_t pid = 0;
    std::string policy_dir;           ///< empty: the installed one
    std::string handler;              ///< of each listener; empty: as its program is named
    std::vector<std::string> against; ///< a policy file, a directory, or raw filters, the oldest first
    std::vector<std::string> bind;
    bool services = false;
    bool json = false;
};
[[nodiscard]] int policy_verify(const VerifyQuestion& question);

} // namespace cloister::tool
