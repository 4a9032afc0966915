// SPDX-License-Identifier: MIT
#pragma once

#include "audit/difference.h"
#include "cli/policy_commands.h"

#include <string>
#include <vector>

/// What an operand of a subcommand names, other than a policy file: a directory of policies or of dumped
/// filters, a file of bytes, a profile of a container runtime, a process. They throw Exit after they printed
/// the error.
namespace cloister::tool {

inline constexpr const char* operands =
    "a policy file; a directory, as for 'check', or of *.bpf files as 'dump -o' writes; "
    "an array of sock_filter; an OCI seccomp profile (JSON); or pid:N, a process";

enum class Kind { policy, policies, filters, profile, process };
[[nodiscard]] Kind kind_of(const std::string& operand);

/// A process is read by its main thread.
[[nodiscard]] audit::Subject load_subject(const Question& question);

/// The same as a policy: a profile is imported, filters are written as text. What that cannot say ends the
/// subcommand with 65.
[[nodiscard]] policy::Policy load_as_text(const Question& question);

/// The processors to compare two for: --arch, or all that both list; bytes are for this machine's.
[[nodiscard]] std::vector<policy::Arch> archs_of(const audit::Subject& before, const audit::Subject& after,
                                                 const Question& question);

} // namespace cloister::tool
