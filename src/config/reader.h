// SPDX-License-Identifier: MIT
#pragma once

#include "base/exit_code.h"
#include "config/wire.h"

#include <chrono>
#include <functional>
#include <optional>
#include <sys/types.h>

/// Parses a configuration file in a child process that can do nothing else: not root, without capabilities,
/// under Landlock, limits and a seccomp filter (policy/processes/reader.policy). Whatever it hands back is
/// checked as if an attacker had written it.
namespace cloister::config {

/// What is wrong with the reading, not with the file.
struct ReaderFailure {
    ExitCode code;
    std::string message; ///< names the file
};

/// What the child does; it is to write a Wire to `out` and nothing else.
using ReaderBody = std::function<void(int out)>;

/// Gives up everything, for good: whoever calls this can write to descriptor 3, which `out` becomes,
/// allocate, and end. As root it becomes `user`, or nobody. Dies when a step fails, or when `parent` is not
/// ours.
void confine_reader(int out, pid_t parent, const std::optional<User>& user);

/// What the child does: confine_reader(), and then it hands over parse_file(text).
[[nodiscard]] ReaderBody confined_reader(std::string_view text, const std::optional<User>& user);

/// Forks, and believes nothing. `text` and `file` are what the model is of. A child that takes longer is
/// killed.
[[nodiscard]] tl::expected<FileResult, ReaderFailure>
read_in_child(std::string_view text, const std::string& file, const ReaderBody& body,
              std::chrono::milliseconds deadline = std::chrono::seconds{10});

} // namespace cloister::config
