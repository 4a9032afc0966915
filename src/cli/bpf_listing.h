// SPDX-License-Identifier: MIT
#pragma once

#include "cli/policy_commands.h"
#include "policy/combine.h"

#include <nlohmann/json.hpp>
#include <string>

namespace cloister::tool {

/// One line for each instruction: its index, what it does, and what its constant stands for where that is
/// certain; beside those that serve one call only, the lines of its rules.
[[nodiscard]] std::string listing(const policy::Assembly& made, policy::Arch arch);

/// The same of a program of which there is no text. Each instruction of the machine is shown.
[[nodiscard]] std::string listing(const policy::Program& program, policy::Arch arch);

/// Prints the program in that form; as JSON, with what `about` says. Gives the exit code.
[[nodiscard]] int print_program(const policy::Assembly& made, policy::Arch arch, const Question& question,
                                Form form, nlohmann::json about);

} // namespace cloister::tool
