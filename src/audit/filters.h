// SPDX-License-Identifier: MIT
#pragma once

#include "audit/process.h"
#include "policy/compile.h"

/// The filters of a running process, as the kernel has them.
namespace cloister::audit {

/// Oldest first: those that it inherited, then its own.
using Filters = std::vector<policy::Program>;

/// The filters of one thread, by PTRACE_SECCOMP_GET_FILTER (ptrace(2)). Index 0 is the oldest: get_nth_filter
/// in kernel/seccomp.c counts from that end, though ptrace(2) says otherwise. It needs CAP_SYS_ADMIN in the
/// initial user namespace, no filter on ourselves, and CONFIG_CHECKPOINT_RESTORE.
///
/// The thread is stopped for the time of a few system calls. Whatever happens to us, it goes on: the kernel
/// lets it go when the thread of ours that traces it ends. A call that it waits in may return EINTR
/// (docs/audit-live.md).
[[nodiscard]] Told<Filters> filters_of(pid_t thread);

struct ThreadFilters {
    pid_t thread;
    Filters filters;
};
/// Those of all threads of a process. Threads that end meanwhile are left out.
[[nodiscard]] Told<std::vector<ThreadFilters>> filters_of_process(pid_t pid);

[[nodiscard]] bool same(const Filters& a, const Filters& b);

} // namespace cloister::audit
