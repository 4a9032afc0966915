// SPDX-License-Identifier: MIT
#pragma once

#include <CLI/CLI.hpp>

namespace cloister::tool {

/// The subcommands `diff` and `map` of `cloister policy`. `code` is set to what to exit with.
void add_compare_commands(CLI::App& policy, int& code);

} // namespace cloister::tool
