// SPDX-License-Identifier: MIT
#pragma once

#include <CLI/CLI.hpp>

namespace cloister::tool {

/// The subcommand `review` of `cloister policy`. `code` is set to what to exit with.
void add_review_command(CLI::App& policy, int& code);

/// For `check --reviewed`: whether each file has a record beside it, and means what it meant then; what
/// differs is printed. Gives the exit code: 0, 1, or that of a malformed record.
[[nodiscard]] int require_reviewed(const std::vector<std::string>& files);

} // namespace cloister::tool
