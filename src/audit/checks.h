// SPDX-License-Identifier: MIT
#pragma once

#include "audit/verify.h"

/// What is checked of one process. Each appends its checks; one that could not be made is `unknown`.
namespace cloister::audit {

/// What a process is compared with.
struct Family {
    Status supervisor;
    Told<Filters> inherited; ///< the supervisor's own filters: those of a container, or none
    Told<std::vector<Mapping>> listener_memory; ///< of a listener, and of a cell: its listener's
    Told<std::string> listener_program;
};

void add(std::vector<Check>& checks, std::string name, bool match, std::string expected, std::string found);
void add_unknown(std::vector<Check>& checks, std::string name, std::string why);

/// no_new_privs, seccomp, user and groups, capabilities, threads, signals, tracer.
void check_status(const Status& status, Role role, const Family& family, std::vector<Check>& checks);
void check_descriptors(pid_t pid, Role role, pid_t supervisor, std::vector<Check>& checks);
void check_memory(pid_t pid, Role role, const Family& family, std::vector<Check>& checks);

/// Where the addresses that were found in the filter must lie.
void check_addresses(pid_t pid, Role role, const policy::Bindings& bindings, const Family& family,
                     std::vector<Check>& checks);

/// The one mapping that is the memory of cells (cell::Arena), or nothing.
[[nodiscard]] std::optional<Mapping> arena_in(const std::vector<Mapping>& mappings);

} // namespace cloister::audit
