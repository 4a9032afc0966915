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
/// What makes one filter: the *.policy files of a directory, and one of a handler.
struct Filter {
    std::string handler; ///< its name; empty: the directory's files alone are a filter
    std::vector<std::string> files;
};
/// The filters of a directory, in the order of their handlers' names: one for each of handlers/*.policy, or
/// for `handler` (a name of these, or any file) if it is not empty. None is an error.
[[nodiscard]] tl::expected<std::vector<Filter>, policy::Error> filters_in(const std::string& directory,
                                                                          const std::string& handler);
/// All their files, each once.
[[nodiscard]] std::vector<std::string> files_of(const std::vector<Filter>& filters);

/// A raw array of sock_filter.
[[nodiscard]] tl::expected<policy::Program, policy::Error> load_program(const std::string& file);
[[nodiscard]] std::string bytes_of(const policy::Program& program);

} // namespace cloister::tool
