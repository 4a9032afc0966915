// SPDX-License-Identifier: MIT
#pragma once

#include <CLI/CLI.hpp>

/// The subcommands of `cloister policy` about running processes and what is recorded of them.
namespace cloister::tool {

/// Adds them; each sets `code` to what to exit with.
void add_process_commands(CLI::App& policy, int& code);

} // namespace cloister::tool
