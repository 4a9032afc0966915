// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <linux/filter.h>
#include <span>
#include <sys/types.h>

/// The steps by which a process gives up power. None can be undone. Each is read back from the kernel; if the
/// kernel did not do it, the process dies with what was asked, what is, and the cure.
namespace cloister::confine {

/// Empties the capability bounding set. False if it is not empty, for want of CAP_SETPCAP: no_new_privs makes
/// it inert. Before become(), which gives that capability up.
[[nodiscard]] bool empty_bounding_set();

/// Real, effective and saved ids become `uid`, never 0, and `gid`; supplementary groups none, where
/// CAP_SETGID allows. True if there are none. What is so already is not asked for: filters may deny it.
[[nodiscard]] bool become(uid_t uid, gid_t gid);

/// Permitted, effective, inheritable and ambient: nothing is left. Asked for only if there are some.
void drop_all_capabilities();

/// No privileges by execve (PR_SET_NO_NEW_PRIVS).
void forbid_new_privileges();

/// No core dump, no ptrace by processes of the same user, /proc/PID belongs to root. Early in main, and
/// again after become(), which resets it.
void forbid_dumping();

/// This process is killed when `parent` ends; dies if it has. After become(), which clears this (prctl(2)).
void die_with_parent(pid_t parent);

/// No core dump, no locked memory, no descriptor from `descriptors` on.
void limit_resources(unsigned descriptors);

/// Landlock with no rule at all: no file can be opened, no TCP port bound or connected, no process outside
/// signalled, as far as the kernel's ABI goes, which is returned (0: none, or it is not enabled at boot).
[[nodiscard]] int deny_by_landlock();

/// Installs `program` for this process and all its descendants (seccomp(2)). After forbid_new_privileges().
void install_filter(std::span<const sock_filter> program);

/// What /proc/self/status must contain. The last three: false is no demand.
struct Expected {
    uid_t uid;
    gid_t gid;
    bool bounding_empty;
    bool groups_empty;
    bool filtered;
};

/// Reads `status_fd` (/proc/self/status, opened before) from its start, and dies at the first difference.
void verify(const Expected& expected, int status_fd);

} // namespace cloister::confine
