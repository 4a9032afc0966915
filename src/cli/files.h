// SPDX-License-Identifier: MIT
#pragma once

#include "base/exit_code.h"
#include "policy/compile.h"
#include "policy/policy.h"

#include <optional>
#include <string>
#include <vector>

/// Files that the subcommands read, and their errors.
namespace cloister::tool {

[[nodiscard]] ExitCode exit_code(const policy::Error& error);
/// Prints the error and gives its exit code.
[[nodiscard]] ExitCode report(const policy::Error& error);

/// A policy and the one that it is under, if any.
struct Loaded {
    policy::Policy policy;
    std::optional<policy::Policy> under;
};

/// Loads FILE and the policy that it is under: one of `others` that has that name, or NAME.policy beside it.
[[nodiscard]] tl::expected<Loaded, policy::Error> load_with_under(const std::string& file,
                                                                  const std::vector<std::string>& others);
[[nodiscard]] tl::expected<void, policy::Error> check(const Loaded& loaded);

[[nodiscard]] bool is_directory(const std::string& file);
/// The *.policy files of a directory, in the order of their names; none is an error.
[[nodiscard]] tl::expected<std::vector<std::string>, policy::Error>
policy_files(const std::string& directory);

/// A raw array of sock_filter.
[[nodiscard]] tl::expected<policy::Program, policy::Error> load_program(const std::string& file);
[[nodiscard]] std::string bytes_of(const policy::Program& program);

} // namespace cloister::tool
