// SPDX-License-Identifier: MIT
#pragma once

#include "cli/files.h"
#include "cli/policy_commands.h"
#include "policy/combine.h"

#include <nlohmann/json.hpp>

/// The subcommands where FILE is a directory: its *.policy files, combined into one program. They throw Exit.
namespace cloister::tool {

/// Whether they can be combined; adds to the answers. Gives the exit code.
[[nodiscard]] int check_combined(const std::string& directory, const Filter& filter, nlohmann::json& answers,
                                 bool silent);
[[nodiscard]] int combined_prove(const Question& question, const std::string& bytes_file);
[[nodiscard]] int combined_bpf(const Question& question, Form form);
[[nodiscard]] int combined_show(const Question& question);
/// The one filter that is asked about: of several that with echo, unless another one is named.
[[nodiscard]] policy::Combined load_combined_checked(const Question& question);
/// The policy that applies to calls from the call site that --at names.
[[nodiscard]] policy::Policy combined_policy_at(const Question& question);

} // namespace cloister::tool
