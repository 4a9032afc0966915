// SPDX-License-Identifier: MIT
#pragma once

#include "audit/process.h"

#include <fmt/format.h>
#include <optional>
#include <string>

namespace cloister::tool {

struct DumpQuestion {
    std::optional<pid_t> pid;
    std::optional<pid_t> tid;
    std::optional<std::size_t> filter;
    std::string directory;
    bool raw = false;
    bool hex = false;
    bool json = false;
};
[[nodiscard]] int policy_dump(const DumpQuestion& question);

/// Prints why, and throws Exit with 69.
[[noreturn]] void cannot_tell(const audit::CannotTell& why, bool json);
/// Refuses, as a wrong command line, what is no number of a process.
void expect_process_number(pid_t pid, const char* option);

} // namespace cloister::tool
